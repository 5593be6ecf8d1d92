/* Float first layers: MXNet's Convolution of few channels with what follows it, NCHW in, NHWC out, bit for bit.
 *
 *   _qnn_stem_convolution(data, weight[, mean, slope, shift][, bias]; kernel, num_filter, stride, pad, has_norm, has_bias,
 *                         bias_first, relu, pool_kernel, pool_stride, pool_pad)
 *
 * data: (N, C, H, W), of which it takes ((data - mean) * slope) + shift where has_norm; weight: (kernel, C, num_filter),
 * taps first. converter/passes/native_stems.py composes it where it equals MXNet's operators. */
#include "adapter.h"

using mxnet::ext::MXReturnValue;
using mxnet::ext::OpResource;
using namespace qnn;

namespace {

const char *const kOp = "_qnn_stem_convolution";

MXReturnValue parse(const Attributes &attributes, int *num_in, int *num_out) {
  check_known(attributes, kOp, {"kernel", "num_filter", "stride", "pad", "has_norm", "has_bias", "bias_first", "relu",
              "pool_kernel", "pool_stride", "pool_pad"});
  *num_in = 2 + 3 * flag(attributes, "has_norm") + flag(attributes, "has_bias");
  *num_out = 1;
  return mxnet::ext::MX_SUCCESS;
}

MXReturnValue types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  check_inputs(parse, attributes, in->size(), kOp);
  for (int &type : *in) set_type(&type, mxnet::ext::kFloat32, kOp, "inputs");
  (*out)[0] = mxnet::ext::kFloat32;
  return mxnet::ext::MX_SUCCESS;
}

qnn_stem stem_of(const Attributes &attributes) {
  const std::vector<size_t> kernel = sizes(attributes, "pool_kernel", 2, 0), stride = sizes(attributes, "pool_stride", 2, 1);
  const std::vector<size_t> pad = sizes(attributes, "pool_pad", 2, 0);
  qnn_stem stem = {};
  stem.bias_first = flag(attributes, "bias_first");
  stem.relu = flag(attributes, "relu");
  stem.pool_h = kernel[0], stem.pool_w = kernel[1];
  stem.pool_stride_h = stride[0], stem.pool_stride_w = stride[1];
  stem.pool_pad_h = pad[0], stem.pool_pad_w = pad[1];
  return stem;
}

MXReturnValue infer_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  check_inputs(parse, attributes, in->size(), kOp);
  const Shape data = (*in)[0];
  check_data_shape(data, kOp);
  if (data.size() != 4) fail(std::string(kOp) + " needs data of shape (N, C, H, W), got " + shown(data));
  const qnn_conv2d_shape shape = convolution_of(attributes, data);
  const qnn_stem stem = stem_of(attributes);
  const size_t height = qnn_stem_out_height(&shape, &stem), width = qnn_stem_out_width(&shape, &stem);
  if (height == 0 || width == 0 || height > kMaxDim || width > kMaxDim)
    fail(std::string(kOp) + " does not fit data of shape " + shown(data) + ": kernel " + text(attributes, "kernel", "()") +
         ", pad " + text(attributes, "pad", "()") + ", pool_kernel " + text(attributes, "pool_kernel", "()") +
         ", num_filter " + text(attributes, "num_filter", "0") + " (a multiple of 16)");
  const unsigned num_filter = static_cast<unsigned>(shape.num_filter), channels = data[1];
  set_shape(&(*in)[1], {static_cast<unsigned>(shape.kernel_h), static_cast<unsigned>(shape.kernel_w), channels, num_filter},
            kOp, "weight");
  const size_t num_norm = flag(attributes, "has_norm") ? 3 : 0;
  for (size_t i = 2; i < 2 + num_norm; ++i) set_shape(&(*in)[i], {channels}, kOp, "mean, slope and shift");
  if (flag(attributes, "has_bias")) set_shape(&(*in)[2 + num_norm], {num_filter}, kOp, "bias");
  (*out)[0] = {data[0], static_cast<unsigned>(height), static_cast<unsigned>(width), num_filter};
  return mxnet::ext::MX_SUCCESS;
}

MXReturnValue forward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  const qnn_conv2d_shape shape = convolution_of(attributes, (*in)[0].shape);
  qnn_stem stem = stem_of(attributes);
  size_t at = 2;
  if (flag(attributes, "has_norm")) {
    stem.mean = (*in)[at++].data<float>();
    stem.slope = (*in)[at++].data<float>();
    stem.shift = (*in)[at++].data<float>();
  }
  if (flag(attributes, "has_bias")) stem.bias = (*in)[at].data<float>();
  check(qnn_stem_convolution((*in)[0].data<float>(), (*in)[1].data<float>(), &shape, &stem, (*out)[0].data<float>()), kOp);
  return mxnet::ext::MX_SUCCESS;
}

}  // namespace

namespace mxnet {
namespace ext {

REGISTER_OP(_qnn_stem_convolution).setForward(forward, "cpu").setBackward(no_backward, "cpu")
    .setParseAttrs(parse).setInferType(types).setInferShape(infer_shape);

}  // namespace ext
}  // namespace mxnet
