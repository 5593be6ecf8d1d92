/* Convolution of codes in training: Convolution's arguments and sums, for data and weights that bfloat16 holds.
 *
 *   _qnn_convolution(data, weight[, bias]; kernel, num_filter, stride, dilate, pad, num_group=1, no_bias)
 *
 * qnn/layers.py composes QConvolution of it where the processor multiplies tiles of bfloat16; elsewhere it gives the same
 * sums slowly. Shapes of weight and bias follow from the data's, which must be known: (N, C, H, W), or (N, C, H, W, 1) for
 * the sake of MXNet's sum of the ranks of all inputs (layers.py). */
#include "adapter.h"

using mxnet::ext::MXReturnValue;
using mxnet::ext::OpResource;
using namespace qnn;

namespace {

const char *const kOp = "QConvolution";

MXReturnValue parse(const Attributes &attributes, int *num_in, int *num_out) {
  check_known(attributes, "_qnn_convolution", {"kernel", "num_filter", "stride", "dilate", "pad", "num_group", "no_bias"});
  *num_in = flag(attributes, "no_bias") ? 2 : 3;
  *num_out = 1;
  return mxnet::ext::MX_SUCCESS;
}

MXReturnValue types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  static const char *const names[] = {"data", "weight", "bias"};
  check_inputs(parse, attributes, in->size(), kOp);
  for (size_t i = 0; i < in->size(); ++i) set_type(&(*in)[i], mxnet::ext::kFloat32, kOp, names[i]);
  (*out)[0] = mxnet::ext::kFloat32;
  return mxnet::ext::MX_SUCCESS;
}

MXReturnValue infer_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  check_inputs(parse, attributes, in->size(), kOp);
  const Shape &data = (*in)[0];
  check_data_shape(data, kOp);
  if (data.size() != 4 && (data.size() != 5 || data[4] != 1))
    fail(std::string(kOp) + " with a 2-D kernel needs data of shape (N, C, H, W), got " + shown(data));
  const qnn_conv2d_shape shape = convolution_of(attributes, data);
  if (shape.num_group != 1) fail("_qnn_convolution has one group; QConvolution takes Convolution for more");
  const size_t height = qnn_conv2d_out_height(&shape), width = qnn_conv2d_out_width(&shape);
  if (height == 0 || width == 0 || height > kMaxDim || width > kMaxDim)
    fail(std::string(kOp) + " does not fit data of shape " + shown(data) + ": kernel " + text(attributes, "kernel", "()") +
         ", pad " + text(attributes, "pad", "()") + ", num_filter " + text(attributes, "num_filter", "0"));
  const unsigned num_filter = static_cast<unsigned>(shape.num_filter);
  const Shape y = {data[0], num_filter, static_cast<unsigned>(height), static_cast<unsigned>(width)};
  set_shape(&(*in)[1], {num_filter, data[1], static_cast<unsigned>(shape.kernel_h), static_cast<unsigned>(shape.kernel_w)},
            kOp, "weight");
  if (in->size() > 2) set_shape(&(*in)[2], {num_filter}, kOp, "bias");
  (*out)[0] = y;
  return mxnet::ext::MX_SUCCESS;
}

MXReturnValue forward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  const qnn_conv2d_shape shape = convolution_of(attributes, (*in)[0].shape);
  check(qnn_train_conv2d((*in)[0].data<float>(), (*in)[1].data<float>(), in->size() > 2 ? (*in)[2].data<float>() : nullptr,
                         &shape, (*out)[0].data<float>()), kOp);
  return mxnet::ext::MX_SUCCESS;
}

/* in: dy, data, weight[, bias], y; out: their gradients. */
MXReturnValue backward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  const float *dy = (*in)[0].data<float>();
  const qnn_conv2d_shape shape = convolution_of(attributes, (*in)[1].shape);
  check(qnn_train_conv2d_grad_data(dy, (*in)[2].data<float>(), &shape, (*out)[0].data<float>()), kOp);
  check(qnn_train_conv2d_grad_weight((*in)[1].data<float>(), dy, &shape, (*out)[1].data<float>()), kOp);
  if (out->size() > 2) check(qnn_train_conv2d_grad_bias(dy, &shape, (*out)[2].data<float>()), kOp);
  return mxnet::ext::MX_SUCCESS;
}

}  // namespace

namespace mxnet {
namespace ext {

REGISTER_OP(_qnn_convolution).setForward(forward, "cpu").setBackward(backward, "cpu")
    .setParseAttrs(parse).setInferType(types).setInferShape(infer_shape);

}  // namespace ext
}  // namespace mxnet
