/* MXNet operators that pass packed images (qnn.h) between each other, for converted graphs. No state, inference only.
 *
 *   _qnn_pack(data[, threshold, flip]; layout, pad, pad_value, num_group, has_threshold, planes, code) float -> image
 *   _qnn_bits_convolution(image, weight[, offset], threshold, flip; channels, ..., image_pad, out_pad, out_pad_value,
 *                         out_planes, out_code, CODES)
 *   _qnn_float_convolution(image, weight[, offset][, mean][, scale][, bias][, residual]; channels, ..., image_pad, no_offset,
 *                          has_mean, has_scale, has_bias, has_residual, layout, flatten, CODES)        image -> float
 *   _qnn_bits_max_pool(image[, flip]; kernel, stride, pad, pooling_convention, image_pad, out_pad, out_pad_value, channels,
 *                      has_flip, planes, code)                                                      packed_max_pool.cc
 *
 * An image is int64 (N, H + 2 pad_h, W + 2 pad_w, num_group * words); flip is int64 (words,): bits of the channels, packed
 * as a row; threshold is float32 (C,) for _qnn_pack, int32 (num_filter,) for _qnn_bits_convolution. The weight is int64
 * panels. image_pad: padding that the image holds, not below pad; absent or 0: pad. channels of _qnn_bits_max_pool: bits of
 * a pixel that exist; absent or 0: all.
 *
 * Codes of P > 1 planes (qnn.h): an image is (N, P, H + 2 pad_h, ...), a threshold (2^P - 1, C); for _qnn_pack it may be
 * (2^P - 1, 1) with flip (1,), shared by all channels. CODES are act_planes, act_code (bipolar, unsigned, signed),
 * weight_planes, weight_code (bipolar, masked) and plane, the first plane that is read of an image that holds more than
 * act_planes. offset is int32 (num_filter,), an input where data is not bipolar or weights are masked.
 */
#include "packed_images.h"

using mxnet::ext::MXReturnValue;
using mxnet::ext::MX_SUCCESS;
using mxnet::ext::OpResource;
using namespace qnn;

namespace {

/* ---- _qnn_pack ---------------------------------------------------------------------------------------------------------- */

const char *const kPack = "_qnn_pack";

MXReturnValue pack_parse(const Attributes &attributes, int *num_in, int *num_out) {
  check_known(attributes, kPack, {"layout", "pad", "pad_value", "num_group", "has_threshold", "planes", "code"});
  *num_in = flag(attributes, "has_threshold") ? 3 : 1;
  *num_out = 1;
  return MX_SUCCESS;
}

MXReturnValue pack_types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  check_inputs(pack_parse, attributes, in->size(), "_qnn_pack");
  set_type(&(*in)[0], mxnet::ext::kFloat32, kPack, "data");
  if (flag(attributes, "has_threshold")) {
    set_type(&(*in)[1], mxnet::ext::kFloat32, kPack, "thresholds");
    set_type(&(*in)[2], mxnet::ext::kInt64, kPack, "flip bits");
  }
  (*out)[0] = mxnet::ext::kInt64;
  return MX_SUCCESS;
}

qnn_conv2d_shape pack_geometry(const Attributes &attributes, const Shape &data) {
  const std::vector<size_t> pad = sizes(attributes, "pad", 2, 0);
  const bool is_nhwc = is_second(attributes, "layout", "NCHW", "NHWC") && data.size() == 4;
  qnn_conv2d_shape shape = {};
  shape.batch = data[0];
  shape.channels = data[is_nhwc ? 3 : 1];
  shape.height = data.size() == 2 ? 1 : data[is_nhwc ? 1 : 2];
  shape.width = data.size() == 2 ? 1 : data[is_nhwc ? 2 : 3];
  shape.num_group = static_cast<size_t>(number(attributes, "num_group", 1));
  shape.pad_h = pad[0], shape.pad_w = pad[1];
  shape.pad_value = static_cast<int>(number(attributes, "pad_value", 1));
  shape.act_planes = planes_in(attributes, "planes", 8);
  shape.act_code = act_code(attributes, "code");
  check_padding(pad, shape.pad_value, shape.act_code, kPack);
  return shape;
}

MXReturnValue pack_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  check_inputs(pack_parse, attributes, in->size(), "_qnn_pack");
  const Shape data = (*in)[0];
  check_data_shape(data, kPack);
  if (data.size() != 4 && data.size() != 2)
    fail(std::string(kPack) + " needs data of shape (N, C, H, W), (N, H, W, C) or (N, K), got " + shown(data));
  const qnn_conv2d_shape s = pack_geometry(attributes, data);
  if (qnn_conv2d_image_words(&s) == 0)
    fail(std::string(kPack) + " needs channels that num_group divides, got data of shape " + shown(data));
  if (flag(attributes, "has_threshold")) {
    const bool is_shared = (*in)[1] == steps_shape(s.act_planes, 1);
    set_shape(&(*in)[1], steps_shape(s.act_planes, is_shared ? 1 : s.channels), kPack, "thresholds");
    set_shape(&(*in)[2], {is_shared ? 1 : words_for(s.channels)}, kPack, "flip bits");
  } else if (s.act_planes > 1) {
    fail(std::string(kPack) + " of several planes needs thresholds: has_threshold=True");
  }
  (*out)[0] = image_shape(data[0], s.act_planes, axis(s.height + 2 * s.pad_h, kPack), axis(s.width + 2 * s.pad_w, kPack),
                          static_cast<unsigned>(s.num_group) * words_for(s.channels / s.num_group));
  return MX_SUCCESS;
}

MXReturnValue pack_forward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  const qnn_conv2d_shape s = pack_geometry(attributes, shape_of((*in)[0]));
  const bool is_nhwc = is_second(attributes, "layout", "NCHW", "NHWC");
  const float *x = (*in)[0].data<float>();
  uint64_t *image = (*out)[0].data<uint64_t>();
  if (flag(attributes, "has_threshold"))
    check((is_nhwc ? qnn_pack_thresholds_nhwc : qnn_pack_thresholds_nchw)(x, &s, (*in)[1].data<float>(),
                                                                          static_cast<size_t>((*in)[1].shape.back()),
                                                                          words_of((*in)[2]), image), kPack);
  else
    check((is_nhwc ? qnn_pack_nhwc : qnn_pack_nchw)(x, &s, image), kPack);
  return MX_SUCCESS;
}

/* ---- convolutions ------------------------------------------------------------------------------------------------------- */

qnn_conv2d_shape image_geometry(const Attributes &attributes, const Shape &image, const char *op) {
  qnn_conv2d_shape shape = geometry_of(attributes);
  const std::vector<size_t> image_pad = sizes(attributes, "image_pad", 2, 0);
  shape.image_pad_h = image_pad[0], shape.image_pad_w = image_pad[1];
  shape.batch = image[0];
  shape.channels = static_cast<size_t>(number(attributes, "channels", 0));
  shape.height = inner(height_of(image), image_pad[0] ? image_pad[0] : shape.pad_h, op, image);
  shape.width = inner(width_of(image), image_pad[1] ? image_pad[1] : shape.pad_w, op, image);
  shape.act_planes = planes_in(attributes, "act_planes", 8);
  shape.act_code = act_code(attributes, "act_code");
  shape.weight_planes = planes_in(attributes, "weight_planes", 8);
  shape.weight_code = is_second(attributes, "weight_code", "bipolar", "masked") ? QNN_MASKED : QNN_BIPOLAR;
  shape.image_planes = planes_of(image);
  shape.first_plane = static_cast<size_t>(number(attributes, "plane", 0));
  return shape;
}

/* The input behind the weight. */
bool has_offset(const Attributes &attributes) {
  return act_code(attributes, "act_code") != QNN_BIPOLAR || is_second(attributes, "weight_code", "bipolar", "masked");
}

const int32_t *offset_of(const Attributes &attributes, Tensors *in) {
  return has_offset(attributes) ? (*in)[2].data<int32_t>() : nullptr;
}

/* Checks image and weight. */
qnn_conv2d_shape check_convolution(const Attributes &attributes, Shapes *in, const char *op) {
  const Shape image = (*in)[0];
  check_image_shape(image, op);
  const qnn_conv2d_shape s = image_geometry(attributes, image, op);
  const bool is_whole = s.act_planes == s.image_planes && attributes.count("plane") == 0;
  if (!is_whole && (attributes.count("plane") == 0 || s.first_plane > 8 || s.first_plane + s.act_planes > s.image_planes))
    fail(std::string(op) + " reads " + std::to_string(s.act_planes) + " planes from plane=" + text(attributes, "plane", "(absent)") +
         " on, got a packed image of shape " + shown(image));
  check_padding({s.image_pad_h + s.pad_h, s.image_pad_w + s.pad_w}, s.pad_value, s.act_code, op);
  if (qnn_conv2d_out_height(&s) == 0)
    fail(std::string(op) + " does not fit a packed image of shape " + shown(image) +
         ", or its accumulators may pass 2^24 (" + std::to_string(s.act_planes) + " x " + std::to_string(s.weight_planes) + " bits)");
  const unsigned words = static_cast<unsigned>(s.num_group) * words_for(s.channels / s.num_group);
  if (words_of(image) != words)
    fail(std::string(op) + " needs " + std::to_string(words) + " words a pixel for " + std::to_string(s.channels) +
         " channels, got a packed image of shape " + shown(image));
  const size_t weight_planes = s.weight_planes + (s.weight_code == QNN_MASKED);
  set_shape(&(*in)[1], {static_cast<unsigned>(s.num_filter * qnn_conv2d_filter_words(&s) * weight_planes)}, op, "packed weights");
  if (has_offset(attributes)) set_shape(&(*in)[2], {static_cast<unsigned>(s.num_filter)}, op, "offset");
  return s;
}

const char *const kBits = "_qnn_bits_convolution";

MXReturnValue bits_parse(const Attributes &attributes, int *num_in, int *num_out) {
  check_known(attributes, kBits, {"channels", "kernel", "num_filter", "stride", "dilate", "pad", "num_group", "pad_value",
              "image_pad", "out_pad", "out_pad_value", "out_planes", "out_code", "act_planes", "act_code", "weight_planes",
              "weight_code", "plane"});
  *num_in = 4 + has_offset(attributes);
  *num_out = 1;
  return MX_SUCCESS;
}

MXReturnValue bits_types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  check_inputs(bits_parse, attributes, in->size(), "_qnn_bits_convolution");
  set_type(&(*in)[0], mxnet::ext::kInt64, kBits, "packed images");
  set_type(&(*in)[1], mxnet::ext::kInt64, kBits, "packed weights");
  size_t at = 2;
  if (has_offset(attributes)) set_type(&(*in)[at++], mxnet::ext::kInt32, kBits, "offset");
  set_type(&(*in)[at], mxnet::ext::kInt32, kBits, "thresholds");
  set_type(&(*in)[at + 1], mxnet::ext::kInt64, kBits, "flip bits");
  (*out)[0] = mxnet::ext::kInt64;
  return MX_SUCCESS;
}

/* What the attributes say about the output. */
qnn_bits_output bits_output(const Attributes &attributes) {
  const std::vector<size_t> pad = sizes(attributes, "out_pad", 2, 0);
  qnn_bits_output output = {};
  output.planes = planes_in(attributes, "out_planes", 4);
  output.code = act_code(attributes, "out_code");
  output.pad_h = pad[0], output.pad_w = pad[1];
  output.pad_value = static_cast<int>(number(attributes, "out_pad_value", 1));
  check_padding(pad, output.pad_value, output.code, kBits);
  return output;
}

MXReturnValue bits_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  check_inputs(bits_parse, attributes, in->size(), "_qnn_bits_convolution");
  const qnn_conv2d_shape s = check_convolution(attributes, in, kBits);
  const qnn_bits_output output = bits_output(attributes);
  const size_t at = 2 + has_offset(attributes);
  set_shape(&(*in)[at], steps_shape(output.planes, s.num_filter), kBits, "thresholds");
  set_shape(&(*in)[at + 1], {words_for(s.num_filter)}, kBits, "flip bits");
  (*out)[0] = image_shape(s.batch, output.planes, axis(qnn_conv2d_out_height(&s) + 2 * output.pad_h, kBits),
                          axis(qnn_conv2d_out_width(&s) + 2 * output.pad_w, kBits), words_for(s.num_filter));
  return MX_SUCCESS;
}

MXReturnValue bits_forward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  const qnn_conv2d_shape s = image_geometry(attributes, shape_of((*in)[0]), kBits);
  const size_t at = 2 + has_offset(attributes);
  qnn_bits_output output = bits_output(attributes);
  output.offset = offset_of(attributes, in);
  output.threshold = (*in)[at].data<int32_t>();
  output.flip = words_of((*in)[at + 1]);
  check(qnn_conv2d_bits(words_of((*in)[0]), words_of((*in)[1]), &s, &output, (*out)[0].data<uint64_t>()), kBits);
  return MX_SUCCESS;
}

const char *const kFloat = "_qnn_float_convolution";
const char *const kOptional[] = {"has_mean", "has_scale", "has_bias", "has_residual"};  /* in the order of the inputs */

MXReturnValue float_parse(const Attributes &attributes, int *num_in, int *num_out) {
  check_known(attributes, kFloat, {"channels", "kernel", "num_filter", "stride", "dilate", "pad", "num_group", "pad_value",
              "image_pad", "no_offset", "has_mean", "has_scale", "has_bias", "has_residual", "layout", "flatten", "act_planes",
              "act_code", "weight_planes", "weight_code", "plane"});
  *num_in = 2 + has_offset(attributes);
  for (const char *name : kOptional) *num_in += flag(attributes, name);
  *num_out = 1;
  return MX_SUCCESS;
}

MXReturnValue float_types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  check_inputs(float_parse, attributes, in->size(), "_qnn_float_convolution");
  set_type(&(*in)[0], mxnet::ext::kInt64, kFloat, "packed images");
  set_type(&(*in)[1], mxnet::ext::kInt64, kFloat, "packed weights");
  size_t at = 2;
  if (has_offset(attributes)) set_type(&(*in)[at++], mxnet::ext::kInt32, kFloat, "offset");
  for (size_t i = at; i < in->size(); ++i) set_type(&(*in)[i], mxnet::ext::kFloat32, kFloat, "mean, scale, bias and residual");
  (*out)[0] = mxnet::ext::kFloat32;
  return MX_SUCCESS;
}

MXReturnValue float_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  check_inputs(float_parse, attributes, in->size(), "_qnn_float_convolution");
  const qnn_conv2d_shape s = check_convolution(attributes, in, kFloat);
  const unsigned batch = static_cast<unsigned>(s.batch), filters = static_cast<unsigned>(s.num_filter);
  const unsigned height = static_cast<unsigned>(qnn_conv2d_out_height(&s));
  const unsigned width = static_cast<unsigned>(qnn_conv2d_out_width(&s));
  Shape y = {batch, filters, height, width};
  if (is_second(attributes, "layout", "NCHW", "NHWC")) y = {batch, height, width, filters};
  if (flag(attributes, "flatten")) {
    if (height != 1 || width != 1) fail(std::string(kFloat) + " flattens outputs of one pixel only, got " + shown(y));
    y = {batch, filters};
  }
  size_t at = 2 + has_offset(attributes);
  for (const char *name : kOptional) {
    if (!flag(attributes, name)) continue;
    Shape *shape = &(*in)[at++];
    const std::string argument = name + 4;
    if (argument == "scale" && *shape == Shape{1}) continue;
    set_shape(shape, argument == "residual" ? y : Shape{filters}, kFloat, argument.c_str());
  }
  (*out)[0] = y;
  return MX_SUCCESS;
}

MXReturnValue float_forward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  const qnn_conv2d_shape s = image_geometry(attributes, shape_of((*in)[0]), kFloat);
  qnn_output output = {};
  output.no_offset = flag(attributes, "no_offset");
  output.offset = offset_of(attributes, in);
  size_t at = 2 + has_offset(attributes);
  if (flag(attributes, "has_mean")) output.mean = (*in)[at++].data<float>();
  if (flag(attributes, "has_scale")) {
    output.num_scale = static_cast<size_t>((*in)[at].size());
    output.scale = (*in)[at++].data<float>();
  }
  if (flag(attributes, "has_bias")) output.bias = (*in)[at++].data<float>();
  if (flag(attributes, "has_residual")) output.residual = (*in)[at].data<float>();
  check(qnn_conv2d(words_of((*in)[0]), words_of((*in)[1]), &s, &output, is_second(attributes, "layout", "NCHW", "NHWC"),
                   (*out)[0].data<float>()), kFloat);
  return MX_SUCCESS;
}

}  // namespace

namespace mxnet {
namespace ext {

REGISTER_OP(_qnn_pack).setForward(pack_forward, "cpu").setBackward(no_backward, "cpu")
    .setParseAttrs(pack_parse).setInferType(pack_types).setInferShape(pack_shape);

REGISTER_OP(_qnn_bits_convolution).setForward(bits_forward, "cpu").setBackward(no_backward, "cpu")
    .setParseAttrs(bits_parse).setInferType(bits_types).setInferShape(bits_shape);

REGISTER_OP(_qnn_float_convolution).setForward(float_forward, "cpu").setBackward(no_backward, "cpu")
    .setParseAttrs(float_parse).setInferType(float_types).setInferShape(float_shape);

}  // namespace ext
}  // namespace mxnet
