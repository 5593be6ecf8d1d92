/* MXNet operator of a LUT network (qnn.h, qnn/lut_network.py), for converted graphs. No state, inference only.
 *
 *   _qnn_lut_network(data, connections, tables, outputs, starts, features, thresholds; layers, num_features, unit,
 *                    has_encoder, has_head)
 *
 * data: float32 (N, ...); connections: int32 (nodes, 6), -1 behind the last input of a node; tables: int64 (nodes,);
 * outputs: int32; starts: int32 (scores + 1,); features: int32 (bits,); thresholds: float32 (frames, bits).
 * Output: float32 (N, scores). num_features, where given, is what a sample must have; qnn/lut_files.py reads the others.
 */
#include "packed_images.h"

using mxnet::ext::MXReturnValue;
using mxnet::ext::MX_SUCCESS;
using mxnet::ext::OpResource;
using namespace qnn;

namespace {

const char *const kLut = "_qnn_lut_network";
const char *const kNames[] = {"data", "connections", "tables", "outputs", "starts", "features", "thresholds"};
enum { kData, kConnections, kTables, kOutputs, kStarts, kFeatures, kThresholds, kCount };

MXReturnValue lut_parse(const Attributes &attributes, int *num_in, int *num_out) {
  check_known(attributes, kLut, {"layers", "num_features", "unit", "has_encoder", "has_head"});
  *num_in = kCount;
  *num_out = 1;
  return MX_SUCCESS;
}

MXReturnValue lut_types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  check_inputs(lut_parse, attributes, in->size(), kLut);
  using namespace mxnet::ext;
  const int types[] = {kFloat32, kInt32, kInt64, kInt32, kInt32, kInt32, kFloat32};
  for (int i = 0; i < kCount; ++i) set_type(&(*in)[i], types[i], kLut, kNames[i]);
  (*out)[0] = kFloat32;
  return MX_SUCCESS;
}

MXReturnValue lut_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  check_inputs(lut_parse, attributes, in->size(), kLut);
  check_data_shape((*in)[kData], kLut);
  const unsigned axes[] = {0, 2, 1, 1, 1, 1, 2};
  for (int i = kConnections; i < kCount; ++i)
    if ((*in)[i].size() != axes[i])
      fail(std::string(kLut) + " needs " + kNames[i] + " of " + std::to_string(axes[i]) + " dimensions, got shape " +
           shown((*in)[i]));
  const unsigned nodes = (*in)[kConnections][0];
  set_shape(&(*in)[kConnections], {nodes, 6}, kLut, kNames[kConnections]);
  set_shape(&(*in)[kTables], {nodes}, kLut, kNames[kTables]);
  set_shape(&(*in)[kFeatures], {(*in)[kThresholds][1]}, kLut, kNames[kFeatures]);
  size_t features = 1;
  for (size_t axis = 1; axis < (*in)[kData].size(); ++axis) features *= (*in)[kData][axis];
  const double wanted = number(attributes, "num_features", static_cast<double>(features));
  if (wanted != static_cast<double>(features))
    fail(std::string(kLut) + " needs " + text(attributes, "num_features", "") + " features a sample, got data of shape " +
         shown((*in)[kData]));
  if ((*in)[kStarts][0] < 2) fail(std::string(kLut) + " needs starts of shape (scores + 1,), got " + shown((*in)[kStarts]));
  (*out)[0] = {(*in)[kData][0], (*in)[kStarts][0] - 1};
  return MX_SUCCESS;
}

MXReturnValue lut_forward(const Attributes &, Tensors *in, Tensors *out, const OpResource &resource) {
  const Shape data = shape_of((*in)[kData]), thresholds = shape_of((*in)[kThresholds]);
  qnn_lut_network network = {};
  network.num_inputs = thresholds[1], network.num_frames = thresholds[0];
  network.num_nodes = shape_of((*in)[kTables])[0], network.num_outputs = shape_of((*in)[kOutputs])[0];
  network.num_scores = shape_of((*in)[kStarts])[0] - 1;
  network.connections = (*in)[kConnections].data<int32_t>();
  network.tables = words_of((*in)[kTables]);
  network.outputs = (*in)[kOutputs].data<int32_t>();
  network.starts = (*in)[kStarts].data<int32_t>();
  std::vector<uint8_t> arities(network.num_nodes);
  for (size_t k = 0; k < network.num_nodes; ++k)
    while (arities[k] < 6 && network.connections[6 * k + arities[k]] >= 0) ++arities[k];
  network.arities = arities.data();
  qnn_lut_samples input = {};
  input.floats = (*in)[kData].data<float>();
  input.num_features = static_cast<size_t>((*in)[kData].size()) / data[0];
  input.features = (*in)[kFeatures].data<int32_t>();
  input.thresholds = (*in)[kThresholds].data<float>();
  if (qnn_lut_check(&network, &input) != QNN_OK)
    fail(std::string(kLut) + " reads a signal, a feature or an output that does not exist; data has " +
         std::to_string(input.num_features) + " features a sample");
  const size_t count = data[0] * network.num_scores;
  int32_t *scores = reinterpret_cast<int32_t *>(workspace(resource, count * sizeof(int32_t)));
  check(qnn_lut_run(&network, &input, data[0], scores, nullptr), kLut);
  float *y = (*out)[0].data<float>();
  for (size_t i = 0; i < count; ++i) y[i] = static_cast<float>(scores[i]);
  return MX_SUCCESS;
}

}  // namespace

namespace mxnet {
namespace ext {

REGISTER_OP(_qnn_lut_network).setForward(lut_forward, "cpu").setBackward(no_backward, "cpu")
    .setParseAttrs(lut_parse).setInferType(lut_types).setInferShape(lut_shape);

}  // namespace ext
}  // namespace mxnet
