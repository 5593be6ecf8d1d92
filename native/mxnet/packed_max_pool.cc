/* _qnn_bits_max_pool: max-pooling from packed image to packed image; packed_operators.cc has inputs and attributes. */
#include "packed_images.h"

using mxnet::ext::MXReturnValue;
using mxnet::ext::MX_SUCCESS;
using mxnet::ext::OpResource;
using namespace qnn;

namespace {

const char *const kPool = "_qnn_bits_max_pool";

MXReturnValue pool_parse(const Attributes &attributes, int *num_in, int *num_out) {
  check_known(attributes, kPool, {"kernel", "stride", "pad", "pooling_convention", "image_pad", "out_pad", "out_pad_value",
              "channels", "has_flip", "planes", "code"});
  *num_in = flag(attributes, "has_flip") ? 2 : 1;
  *num_out = 1;
  return MX_SUCCESS;
}

MXReturnValue pool_types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  check_inputs(pool_parse, attributes, in->size(), "_qnn_bits_max_pool");
  set_type(&(*in)[0], mxnet::ext::kInt64, kPool, "packed images");
  if (in->size() > 1) set_type(&(*in)[1], mxnet::ext::kInt64, kPool, "flip bits");
  (*out)[0] = mxnet::ext::kInt64;
  return MX_SUCCESS;
}

qnn_pool_shape pool_geometry(const Attributes &attributes, const Shape &image) {
  const std::vector<size_t> kernel = sizes(attributes, "kernel", 2, 0), stride = sizes(attributes, "stride", 2, 1);
  const std::vector<size_t> pad = sizes(attributes, "pad", 2, 0), image_pad = sizes(attributes, "image_pad", 2, 0);
  const std::vector<size_t> out_pad = sizes(attributes, "out_pad", 2, 0);
  qnn_pool_shape s = {};
  s.batch = image[0];
  s.channels = static_cast<size_t>(number(attributes, "channels", 0));
  if (s.channels == 0) s.channels = size_t(words_of(image)) * kWordBits;
  s.height = inner(height_of(image), image_pad[0], kPool, image);
  s.width = inner(width_of(image), image_pad[1], kPool, image);
  s.kernel_h = kernel[0], s.kernel_w = kernel[1];
  s.stride_h = stride[0], s.stride_w = stride[1];
  s.pad_h = pad[0], s.pad_w = pad[1];
  s.is_full = is_second(attributes, "pooling_convention", "valid", "full");
  s.image_pad_h = image_pad[0], s.image_pad_w = image_pad[1];
  s.out_pad_h = out_pad[0], s.out_pad_w = out_pad[1];
  s.out_pad_value = static_cast<int>(number(attributes, "out_pad_value", 1));
  s.planes = planes_in(attributes, "planes", 8);
  s.code = act_code(attributes, "code");
  check_padding(out_pad, s.out_pad_value, s.code, kPool);
  if (s.planes != planes_of(image))
    fail(std::string(kPool) + " of " + std::to_string(s.planes) + " planes does not fit a packed image of shape " + shown(image));
  return s;
}

MXReturnValue pool_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  check_inputs(pool_parse, attributes, in->size(), "_qnn_bits_max_pool");
  const Shape image = (*in)[0];
  check_image_shape(image, kPool);
  const qnn_pool_shape s = pool_geometry(attributes, image);
  const size_t height = qnn_pool_out_height(&s), width = qnn_pool_out_width(&s);
  const unsigned words = words_of(image);
  if (height == 0 || width == 0 || words != words_for(s.channels))
    fail(std::string(kPool) + " of " + std::to_string(s.channels) + " channels does not fit a packed image of shape " +
         shown(image));
  if (flag(attributes, "has_flip")) set_shape(&(*in)[1], {words}, kPool, "flip bits");
  (*out)[0] = image_shape(image[0], s.planes, axis(height + 2 * s.out_pad_h, kPool), axis(width + 2 * s.out_pad_w, kPool),
                          words);
  return MX_SUCCESS;
}

MXReturnValue pool_forward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  const qnn_pool_shape s = pool_geometry(attributes, shape_of((*in)[0]));
  const uint64_t *flip = flag(attributes, "has_flip") ? words_of((*in)[1]) : nullptr;
  check(qnn_max_pool_bits(words_of((*in)[0]), &s, flip, (*out)[0].data<uint64_t>()), kPool);
  return MX_SUCCESS;
}

}  // namespace

namespace mxnet {
namespace ext {

REGISTER_OP(_qnn_bits_max_pool).setForward(pool_forward, "cpu").setBackward(no_backward, "cpu")
    .setParseAttrs(pool_parse).setInferType(pool_types).setInferShape(pool_shape);

}  // namespace ext
}  // namespace mxnet
