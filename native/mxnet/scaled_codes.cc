/* Codes of residual binarization and their scales, for training: adapter from lib_api to qnn_train.h.
 *
 *   _qnn_isometric(data, gamma; levels)   ->  codes: odd integers -(2^levels - 1) .. 2^levels - 1 in float32
 *   _qnn_scale(data, scale)               ->  data * scale
 *
 * gamma and scale: (1, 1), above 0 and any.
 */
#include "adapter.h"

using mxnet::ext::MXReturnValue;
using mxnet::ext::MX_SUCCESS;
using mxnet::ext::OpResource;
using namespace qnn;

namespace {

const char *const kIsometric = "_qnn_isometric", *const kScale = "_qnn_scale";

unsigned levels_of(const Attributes &attributes) {
  const double levels = number(attributes, "levels", 0);
  if (levels != 1 && levels != 2 && levels != 3 && levels != 4)
    fail(std::string(kIsometric) + ": levels is 1..4, got '" + text(attributes, "levels", "") + "'");
  return static_cast<unsigned>(levels);
}

MXReturnValue isometric_parse(const Attributes &attributes, int *num_in, int *num_out) {
  check_known(attributes, kIsometric, {"levels"});
  levels_of(attributes);
  *num_in = 2;
  *num_out = 1;
  return MX_SUCCESS;
}

MXReturnValue scale_parse(const Attributes &attributes, int *num_in, int *num_out) {
  check_known(attributes, kScale, {});
  *num_in = 2;
  *num_out = 1;
  return MX_SUCCESS;
}

MXReturnValue types(Parse parse, const char *op, const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  check_inputs(parse, attributes, in->size(), op);
  for (int &type : *in) set_type(&type, mxnet::ext::kFloat32, op, "inputs");
  (*out)[0] = mxnet::ext::kFloat32;
  return MX_SUCCESS;
}

MXReturnValue isometric_types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  return types(isometric_parse, kIsometric, attributes, in, out);
}

MXReturnValue scale_types(const Attributes &attributes, std::vector<int> *in, std::vector<int> *out) {
  return types(scale_parse, kScale, attributes, in, out);
}

MXReturnValue shapes(Parse parse, const char *op, const char *argument, const Attributes &attributes, Shapes *in, Shapes *out) {
  check_inputs(parse, attributes, in->size(), op);
  check_data_shape((*in)[0], op);
  set_shape(&(*in)[1], {1, 1}, op, argument);
  (*out)[0] = (*in)[0];
  return MX_SUCCESS;
}

MXReturnValue isometric_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  return shapes(isometric_parse, kIsometric, "gamma", attributes, in, out);
}

MXReturnValue scale_shape(const Attributes &attributes, Shapes *in, Shapes *out) {
  return shapes(scale_parse, kScale, "scale", attributes, in, out);
}

size_t size_of(Tensors *in, size_t i) { return static_cast<size_t>((*in)[i].size()); }

float *floats(Tensors *tensors, size_t i) { return (*tensors)[i].data<float>(); }

MXReturnValue isometric_forward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  check(qnn_isometric(floats(in, 0), size_of(in, 0), *floats(in, 1), levels_of(attributes), floats(out, 0)), kIsometric);
  return MX_SUCCESS;
}

/* in: dy, x, gamma, y; out: dx, dgamma. */
MXReturnValue isometric_backward(const Attributes &attributes, Tensors *in, Tensors *out, const OpResource &) {
  check(qnn_isometric_grad(floats(in, 1), floats(in, 0), size_of(in, 1), *floats(in, 2), levels_of(attributes), floats(out, 0),
                           floats(out, 1)), kIsometric);
  return MX_SUCCESS;
}

MXReturnValue scale_forward(const Attributes &, Tensors *in, Tensors *out, const OpResource &) {
  check(qnn_scale(floats(in, 0), size_of(in, 0), *floats(in, 1), floats(out, 0)), kScale);
  return MX_SUCCESS;
}

MXReturnValue scale_backward(const Attributes &, Tensors *in, Tensors *out, const OpResource &) {
  check(qnn_scale_grad(floats(in, 1), floats(in, 0), size_of(in, 1), *floats(in, 2), floats(out, 0), floats(out, 1)), kScale);
  return MX_SUCCESS;
}

}  // namespace

namespace mxnet {
namespace ext {

REGISTER_OP(_qnn_isometric).setForward(isometric_forward, "cpu").setBackward(isometric_backward, "cpu")
    .setParseAttrs(isometric_parse).setInferType(isometric_types).setInferShape(isometric_shape).setInferSType(dense_storage);
REGISTER_OP(_qnn_scale).setForward(scale_forward, "cpu").setBackward(scale_backward, "cpu").setParseAttrs(scale_parse)
    .setInferType(scale_types).setInferShape(scale_shape).setInferSType(dense_storage);

}  // namespace ext
}  // namespace mxnet
