/* MXNet operators of qnn: a thin adapter from lib_api to qnn.h.
 *
 *   _qnn_sign(data; grad_clip, low, high, pad, pad_value)         training: x < 0 ? low : high (-1, 1) with the clipped STE.
 *                                                                 pad, pad_value: a border, which graphs saved earlier have
 *   _qnn_ste_identity(data; grad_clip)                            training: identity, gradient inside the window only
 *   _qnn_packed_convolution(data, weight[, scale][, bias]; ...)   inference: float NCHW in, float NCHW out
 *   _qnn_packed_fully_connected(data, weight[, scale][, bias]; ...)
 *
 * packed_operators.cc has those that pass packed images between each other.
 *
 * Packed weights are int64 (MXNet has no uint64): panels of qnn/bits.py. Names begin with an underscore, so that they live in
 * mx.sym._internal, where a later mx.library.load cannot overwrite our Python wrappers.
 */
#include "adapter.h"

using mxnet::ext::MXReturnValue;
using mxnet::ext::MXTensor;
using mxnet::ext::OpResource;
using namespace qnn;

namespace {

const size_t kImageBytes = size_t(64) << 20;    /* packed images per call; alloc_cpu takes an int */

/* float32 data, scale and bias; packed weights int64. */
void set_types(std::vector<int> *in, std::vector<int> *out, const char *op, bool is_packed) {
  for (size_t i = 0; i < in->size(); ++i) {
    const bool is_weight = is_packed && i == 1;
    set_type(&(*in)[i], is_weight ? mxnet::ext::kInt64 : mxnet::ext::kFloat32, op, is_weight ? "packed weights" : "data");
  }
  (*out)[0] = mxnet::ext::kFloat32;
}

size_t product(const std::vector<int64_t> &shape, size_t begin, size_t end) {
  size_t result = 1;
  for (size_t i = begin; i < end; ++i) result *= static_cast<size_t>(shape[i]);
  return result;
}

/* ---- training ---------------------------------------------------------------------------------------------------------- */

struct SignGeometry {
  size_t outer, height, width, pad_h, pad_w;
};

/* pad: none, the last axis, or the last two. */
std::vector<size_t> sign_pad_of(const Attributes &attributes) {
  const std::string value = qnn::text(attributes, "pad", "()");
  size_t count = 0;
  for (size_t i = 0; i < value.size(); ++i)
    count += value[i] >= '0' && value[i] <= '9' && (i == 0 || value[i - 1] < '0' || value[i - 1] > '9');
  if (count > 2) fail("_qnn_sign pads the last one or two axes, got pad=" + value);
  return count ? qnn::sizes(attributes, "pad", count, 0) : std::vector<size_t>();
}

SignGeometry sign_geometry(const Attributes &attributes, const std::vector<int64_t> &shape) {
  const std::vector<size_t> pad = sign_pad_of(attributes);
  const size_t rank = shape.size(), rows = pad.size() == 2 ? 2 : 1;
  if (pad.empty() || (pad[0] == 0 && pad.back() == 0)) return {static_cast<size_t>(shape[0]), 1, product(shape, 1, rank), 0, 0};
  return {product(shape, 0, rank - rows), rows == 2 ? static_cast<size_t>(shape[rank - 2]) : 1,
          static_cast<size_t>(shape[rank - 1]), rows == 2 ? pad[0] : 0, pad.back()};
}

MXReturnValue sign_parse(const Attributes &attributes, int *num_in, int *num_out) {
  qnn::check_known(attributes, "_qnn_sign", {"grad_clip", "low", "high", "pad", "pad_value"});
  *num_in = *num_out = 1;
  return mxnet::ext::MX_SUCCESS;
}

MXReturnValue float_types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  qnn::check_inputs(sign_parse, attributes, in->size(), "_qnn_sign");
  set_types(in, out, "a 1-bit layer", false);
  return mxnet::ext::MX_SUCCESS;
}

MXReturnValue sign_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  qnn::check_inputs(sign_parse, attributes, in->size(), "_qnn_sign");
  Shape shape = (*in)[0];
  check_data_shape(shape, "QActivation");
  const std::vector<size_t> pad = sign_pad_of(attributes);
  if (pad.size() > shape.size()) fail("_qnn_sign pads axes that data of shape " + shown(shape) + " does not have");
  for (size_t i = 0; i < pad.size(); ++i) {
    unsigned &dim = shape[shape.size() - pad.size() + i];
    if (pad[i] > kMaxDim || dim + 2 * pad[i] > kMaxDim)
      fail("QConvolution pads axes up to 2147483647 elements, got pad=" + qnn::text(attributes, "pad", "()") +
           " for data of shape " + shown((*in)[0]));
    dim += 2 * static_cast<unsigned>(pad[i]);
  }
  (*out)[0] = shape;
  return mxnet::ext::MX_SUCCESS;
}

float low_of(const Attributes &attributes) { return static_cast<float>(qnn::number(attributes, "low", -1)); }

float high_of(const Attributes &attributes) { return static_cast<float>(qnn::number(attributes, "high", 1)); }

MXReturnValue sign_forward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  const SignGeometry g = sign_geometry(attributes, (*in)[0].shape);
  check(qnn_sign_pad((*in)[0].data<float>(), g.outer, g.height, g.width, g.pad_h, g.pad_w, low_of(attributes),
                     high_of(attributes), static_cast<float>(qnn::number(attributes, "pad_value", 0)),
                     (*out)[0].data<float>()), "QActivation");
  return mxnet::ext::MX_SUCCESS;
}

/* in: dy, x, y; out: dx */
MXReturnValue sign_backward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  const SignGeometry g = sign_geometry(attributes, (*in)[1].shape);
  const float slope = (high_of(attributes) - low_of(attributes)) / 2;
  check(qnn_sign_pad_grad((*in)[1].data<float>(), (*in)[0].data<float>(), g.outer, g.height, g.width, g.pad_h, g.pad_w,
                          static_cast<float>(qnn::number(attributes, "grad_clip", 1)), slope, (*out)[0].data<float>()),
        "QActivation");
  return mxnet::ext::MX_SUCCESS;
}

MXReturnValue ste_identity_forward(const Attributes &, Tensors *in, Tensors *out, const OpResource &) {
  const float *x = (*in)[0].data<float>();
  std::copy(x, x + (*in)[0].size(), (*out)[0].data<float>());
  return mxnet::ext::MX_SUCCESS;
}

/* ---- inference ---------------------------------------------------------------------------------------------------------- */

MXReturnValue packed_parse(const Attributes &attributes, int *num_in, int *num_out) {
  qnn::check_known(attributes, "a packed layer", {"kernel", "num_filter", "stride", "dilate", "pad", "num_group", "pad_value",
                   "no_offset", "has_scale", "has_bias", "num_hidden", "flatten"});
  *num_in = 2 + qnn::flag(attributes, "has_scale") + qnn::flag(attributes, "has_bias");
  *num_out = 1;
  return mxnet::ext::MX_SUCCESS;
}

MXReturnValue packed_types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  qnn::check_inputs(packed_parse, attributes, in->size(), "a packed layer");
  set_types(in, out, "a packed layer", true);
  return mxnet::ext::MX_SUCCESS;
}

/* scale: (1,) or (num_filter,); bias: (num_filter,). */
void set_scale_and_bias_shapes(const Attributes &attributes, Shapes *in, size_t num_filter, const char *op) {
  const bool has_scale = qnn::flag(attributes, "has_scale");
  const Shape filters = {static_cast<unsigned>(num_filter)};
  if (has_scale && (*in)[2] != Shape{1}) set_shape(&(*in)[2], filters, op, "scale");
  if (qnn::flag(attributes, "has_bias")) set_shape(&(*in)[has_scale ? 3 : 2], filters, op, "bias");
}

qnn_output output_of(const Attributes &attributes, Tensors *in) {
  const bool has_scale = qnn::flag(attributes, "has_scale");
  qnn_output output = {};
  output.no_offset = qnn::flag(attributes, "no_offset");
  if (has_scale) {
    output.scale = (*in)[2].data<float>();
    output.num_scale = static_cast<size_t>((*in)[2].size());
  }
  if (qnn::flag(attributes, "has_bias")) output.bias = (*in)[has_scale ? 3 : 2].data<float>();
  return output;
}

MXReturnValue convolution_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  qnn::check_inputs(packed_parse, attributes, in->size(), "a packed layer");
  const char *op = "QConvolution (packed)";
  check_data_shape((*in)[0], op);
  if ((*in)[0].size() != 4) fail(std::string(op) + " needs data of shape (N, C, H, W), got " + shown((*in)[0]));
  const qnn_conv2d_shape shape = convolution_of(attributes, (*in)[0]);
  const size_t height = qnn_conv2d_out_height(&shape), width = qnn_conv2d_out_width(&shape);
  if (height == 0 || width == 0) fail(std::string(op) + " does not fit data of shape " + shown((*in)[0]));
  set_shape(&(*in)[1], {static_cast<unsigned>(shape.num_filter * qnn_conv2d_filter_words(&shape))}, op, "packed weights");
  set_scale_and_bias_shapes(attributes, in, shape.num_filter, op);
  (*out)[0] = {(*in)[0][0], static_cast<unsigned>(shape.num_filter), static_cast<unsigned>(height), static_cast<unsigned>(width)};
  return mxnet::ext::MX_SUCCESS;
}

MXReturnValue convolution_forward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &resource) {
  const char *op = "QConvolution (packed)";
  MXTensor &data = (*in)[0];
  qnn_conv2d_shape shape = convolution_of(attributes, data.shape);
  const qnn_output output = output_of(attributes, in);
  const size_t batch = shape.batch, in_size = shape.channels * shape.height * shape.width;
  const size_t out_size = shape.num_filter * qnn_conv2d_out_height(&shape) * qnn_conv2d_out_width(&shape);
  shape.batch = 1;
  const size_t image_bytes = qnn_conv2d_image_words(&shape) * sizeof(uint64_t);
  if (image_bytes > 0x7fffff00) fail(std::string(op) + " takes packed images of up to 2 GiB, this one is larger");
  const size_t step = std::min(batch, std::max<size_t>(1, kImageBytes / image_bytes));
  uint64_t *image = workspace(resource, step * image_bytes);
  for (size_t begin = 0; begin < batch; begin += step) {
    shape.batch = std::min(step, batch - begin);
    check(qnn_pack_nchw(data.data<float>() + begin * in_size, &shape, image), op);
    check(qnn_conv2d(image, (*in)[1].data<uint64_t>(), &shape, &output, 0, (*out)[0].data<float>() + begin * out_size), op);
  }
  return mxnet::ext::MX_SUCCESS;
}

template <typename Dims>
size_t fan_in(const Attributes &attributes, const Dims &data) {
  size_t k = 1;
  for (size_t i = qnn::text(attributes, "flatten", "True") == "False" ? data.size() - 1 : 1; i < data.size(); ++i) k *= data[i];
  return k;
}

MXReturnValue fully_connected_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  qnn::check_inputs(packed_parse, attributes, in->size(), "a packed layer");
  const char *op = "QFullyConnected (packed)";
  check_data_shape((*in)[0], op);
  const size_t k = fan_in(attributes, (*in)[0]), num_hidden = static_cast<size_t>(qnn::number(attributes, "num_hidden", 0));
  set_shape(&(*in)[1], {static_cast<unsigned>(num_hidden * ((k + 63) / 64))}, op, "packed weights");
  set_scale_and_bias_shapes(attributes, in, num_hidden, op);
  Shape shape = (*in)[0];
  if (qnn::text(attributes, "flatten", "True") != "False") shape.resize(2);
  shape.resize(std::max<size_t>(shape.size(), 2));
  shape.back() = static_cast<unsigned>(num_hidden);
  (*out)[0] = shape;
  return mxnet::ext::MX_SUCCESS;
}

MXReturnValue fully_connected_forward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &resource) {
  const char *op = "QFullyConnected (packed)";
  MXTensor &data = (*in)[0];
  const size_t k = fan_in(attributes, data.shape), words = (k + 63) / 64, rows = static_cast<size_t>(data.size()) / k;
  const size_t num_hidden = static_cast<size_t>(qnn::number(attributes, "num_hidden", 0));
  const qnn_output output = output_of(attributes, in);
  const size_t step = std::min(rows, std::max<size_t>(1, kImageBytes / (words * sizeof(uint64_t))));
  uint64_t *packed = workspace(resource, step * words * sizeof(uint64_t));
  for (size_t begin = 0; begin < rows; begin += step) {
    const size_t count = std::min(step, rows - begin);
    check(qnn_pack_rows(data.data<float>() + begin * k, count, k, k, packed), op);
    check(qnn_xgemm(packed, (*in)[1].data<uint64_t>(), count, num_hidden, k, &output,
                    (*out)[0].data<float>() + begin * num_hidden), op);
  }
  return mxnet::ext::MX_SUCCESS;
}

}  // namespace

namespace mxnet {
namespace ext {

REGISTER_OP(_qnn_sign).setForward(sign_forward, "cpu").setBackward(sign_backward, "cpu")
    .setParseAttrs(sign_parse).setInferType(float_types).setInferShape(sign_shape);

REGISTER_OP(_qnn_ste_identity).setForward(ste_identity_forward, "cpu").setBackward(sign_backward, "cpu")
    .setParseAttrs(sign_parse).setInferType(float_types).setInferShape(sign_shape);

REGISTER_OP(_qnn_packed_convolution).setForward(convolution_forward, "cpu").setBackward(no_backward, "cpu")
    .setParseAttrs(packed_parse).setInferType(packed_types).setInferShape(convolution_shape);

REGISTER_OP(_qnn_packed_fully_connected).setForward(fully_connected_forward, "cpu").setBackward(no_backward, "cpu")
    .setParseAttrs(packed_parse).setInferType(packed_types).setInferShape(fully_connected_shape);

}  // namespace ext
}  // namespace mxnet

MXReturnValue initialize(int version) {
  if (version >= 10900 && version < 20000) return mxnet::ext::MX_SUCCESS;
  MX_ERROR_MSG << "qnn is built for MXNet 1.9, this is version " << version;
  return mxnet::ext::MX_FAIL;
}
