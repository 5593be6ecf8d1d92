/* Signals of table layers: real numbers into bits, and bits into means, in float32: adapter from lib_api to qnn_train.h.
 *
 *   _qnn_thermometer(data, thresholds; frames, depth, low, high)            ->  bits
 *   _qnn_mean_of_groups(data; n, binarize, binarize_input)                  ->  means or majorities of n channels
 *
 * thresholds are auxiliary states, as connections are (lut_operators.cc).
 */
#include "adapter.h"

using mxnet::ext::MXReturnValue;
using mxnet::ext::MX_SUCCESS;
using mxnet::ext::MXTensor;
using mxnet::ext::OpResource;
using namespace qnn;

namespace {

const char *const kThermometer = "_qnn_thermometer", *const kMean = "_qnn_mean_of_groups";

/* ---- _qnn_thermometer ---------------------------------------------------------------------------------------------- */

MXReturnValue thermometer_parse(const Attributes &attributes, int *num_in, int *num_out) {
  check_known(attributes, kThermometer, {"frames", "depth", "low", "high"});
  *num_in = 2;
  *num_out = 1;
  return MX_SUCCESS;
}

MXReturnValue thermometer_types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  check_inputs(thermometer_parse, attributes, in->size(), kThermometer);
  for (int &type : *in) set_type(&type, mxnet::ext::kFloat32, kThermometer, "inputs");
  (*out)[0] = mxnet::ext::kFloat32;
  return MX_SUCCESS;
}

MXReturnValue thermometer_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  check_inputs(thermometer_parse, attributes, in->size(), kThermometer);
  Shape shape = (*in)[0];
  check_data_shape(shape, kThermometer);
  const size_t frames = static_cast<size_t>(number(attributes, "frames", 1));
  const size_t depth = static_cast<size_t>(number(attributes, "depth", 1));
  const Shape &limits = (*in)[1];
  if (shape.size() < 2 || limits.size() != 3 || limits[0] != frames || limits[2] != depth ||
      (limits[1] != 1 && limits[1] != shape[1]))
    fail(std::string(kThermometer) + " needs data of shape (N, C, ...) and thresholds of shape (" + std::to_string(frames) +
         ", 1 or C, " + std::to_string(depth) + "), got " + shown(shape) + " and " + shown(limits));
  if (shape[0] * frames > kMaxDim || shape[1] * depth > kMaxDim)
    fail(std::string(kThermometer) + " makes axes of up to 2147483647 elements");
  shape[0] *= static_cast<unsigned>(frames);
  shape[1] *= static_cast<unsigned>(depth);
  (*out)[0] = shape;
  return MX_SUCCESS;
}

MXReturnValue thermometer_mutated(const Attributes &, std::vector<int> *indices) {
  *indices = {1};
  return MX_SUCCESS;
}

MXReturnValue thermometer_forward(const Attributes &, Tensors *in, Tensors *out, const OpResource &) {
  MXTensor &x = (*in)[0], &limits = (*in)[1];
  check(qnn_thermometer(x.data<float>(), x.shape[0], x.shape[1], inner_of(x.shape), limits.data<float>(), limits.shape[0],
                        limits.shape[1], limits.shape[2], (*out)[0].data<float>()), kThermometer);
  return MX_SUCCESS;
}

/* in: dy, x, thresholds, y; out: dx, dthresholds. */
MXReturnValue thermometer_backward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  MXTensor &x = (*in)[1], &limits = (*in)[2];
  check(qnn_thermometer_grad(x.data<float>(), (*in)[0].data<float>(), x.shape[0], x.shape[1], inner_of(x.shape), limits.shape[0],
                             limits.shape[2], static_cast<float>(number(attributes, "low", 0)),
                             static_cast<float>(number(attributes, "high", 1)), (*out)[0].data<float>()), kThermometer);
  float *grad = (*out)[1].data<float>();
  std::fill(grad, grad + (*out)[1].size(), 0.0f);
  return MX_SUCCESS;
}

/* ---- _qnn_mean_of_groups ------------------------------------------------------------------------------------------- */

MXReturnValue mean_parse(const Attributes &attributes, int *num_in, int *num_out) {
  check_known(attributes, kMean, {"n", "binarize", "binarize_input"});
  *num_in = *num_out = 1;
  return MX_SUCCESS;
}

size_t group_of(const Attributes &attributes) { return static_cast<size_t>(number(attributes, "n", 0)); }

MXReturnValue mean_types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  check_inputs(mean_parse, attributes, in->size(), kMean);
  set_type(&(*in)[0], mxnet::ext::kFloat32, kMean, "data");
  (*out)[0] = mxnet::ext::kFloat32;
  return MX_SUCCESS;
}

MXReturnValue mean_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  check_inputs(mean_parse, attributes, in->size(), kMean);
  Shape shape = (*in)[0];
  check_data_shape(shape, kMean);
  const size_t n = group_of(attributes);
  if (shape.size() < 2 || n == 0 || shape[1] % n)
    fail(std::string(kMean) + " needs data of shape (N, C, ...) with C a multiple of n = " + std::to_string(n) + ", got " +
         shown(shape));
  shape[1] /= static_cast<unsigned>(n);
  (*out)[0] = shape;
  return MX_SUCCESS;
}

MXReturnValue mean_forward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  MXTensor &x = (*in)[0];
  const size_t n = group_of(attributes);
  check(qnn_mean_of_groups(x.data<float>(), x.shape[0], x.shape[1] / n, inner_of(x.shape), n, flag(attributes, "binarize"),
                           flag(attributes, "binarize_input"), (*out)[0].data<float>()), kMean);
  return MX_SUCCESS;
}

/* in: dy, x, y; out: dx. */
MXReturnValue mean_backward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  MXTensor &x = (*in)[1];
  const size_t n = group_of(attributes);
  check(qnn_mean_of_groups_grad((*in)[0].data<float>(), x.shape[0], x.shape[1] / n, inner_of(x.shape), n,
                                (*out)[0].data<float>()), kMean);
  return MX_SUCCESS;
}

}  // namespace

namespace mxnet {
namespace ext {

REGISTER_OP(_qnn_thermometer).setForward(thermometer_forward, "cpu").setBackward(thermometer_backward, "cpu")
    .setParseAttrs(thermometer_parse).setInferType(thermometer_types).setInferShape(thermometer_shape)
    .setInferSType(dense_storage).setMutateInputs(thermometer_mutated);
REGISTER_OP(_qnn_mean_of_groups).setForward(mean_forward, "cpu").setBackward(mean_backward, "cpu").setParseAttrs(mean_parse)
    .setInferType(mean_types).setInferShape(mean_shape).setInferSType(dense_storage);

}  // namespace ext
}  // namespace mxnet
