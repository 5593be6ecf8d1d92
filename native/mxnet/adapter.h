/* adapter.h: what the operators of operators.cc and packed_operators.cc share: shapes, types, geometry, workspace. */
#ifndef QNN_MXNET_ADAPTER_H
#define QNN_MXNET_ADAPTER_H

#include <mxnet/lib_api.h>

#include "attributes.h"
#include "qnn_train.h"

namespace qnn {

typedef std::vector<mxnet::ext::MXTensor> Tensors;
typedef std::vector<unsigned int> Shape;
typedef std::vector<Shape> Shapes;

const size_t kUnknown = 4294967295u;            /* MXNet's -1 */
const size_t kMaxDim = 0x7fffffff;              /* an axis of MXNet; beyond, 32-bit shapes would wrap */

inline void check(qnn_status status, const char *op) {
  if (status != QNN_OK) fail(std::string(op) + " failed with qnn_status " + std::to_string(static_cast<int>(status)));
}

inline std::string shown(const Shape &shape) {
  std::string result = "(";
  for (size_t i = 0; i < shape.size(); ++i) result += (i ? ", " : "") + std::to_string(shape[i]);
  return result + ")";
}

inline void check_data_shape(const Shape &shape, const char *op) {
  if (shape.empty()) fail(std::string(op) + " needs the shape of its data, which is unknown here; give it to infer_shape or bind");
  for (size_t dim : shape) {
    if (dim == kUnknown || dim == 0)
      fail(std::string(op) + " needs data without empty or unknown dimensions, got " + shown(shape) + " (4294967295 is unknown)");
  }
}

typedef mxnet::ext::MXReturnValue (*Parse)(const Attributes &, int *num_in, int *num_out);

/* MXNet asks how many inputs an operator has, and does not compare: a graph file with fewer would be read past the end. */
inline void check_inputs(Parse parse, const Attributes &attributes, size_t count, const char *op) {
  int num_in = 0, num_out = 0;
  parse(attributes, &num_in, &num_out);
  if (count != static_cast<size_t>(num_in))
    fail(std::string(op) + " has " + std::to_string(num_in) + " inputs, got " + std::to_string(count));
}

/* Another type would be reinterpreted, silently. */
inline void set_type(int *type, int expected, const char *op, const char *argument) {
  static const char *const names[] = {"float32", "float64", "float16", "uint8", "int32", "int8", "int64"};
  if (*type == -1) *type = expected;
  if (*type != expected)
    fail(std::string(op) + " takes " + names[expected] + " " + argument + ", got " +
         (*type >= 0 && *type < 7 ? names[*type] : "an unknown type") + "; cast it first");
}

/* Sets the shape of a parameter; what is known of it, wholly or in part, must agree. */
inline void set_shape(Shape *shape, const Shape &expected, const char *op, const char *argument) {
  bool agrees = shape->empty() || shape->size() == expected.size();
  for (size_t i = 0; agrees && i < shape->size(); ++i)
    agrees = (*shape)[i] == kUnknown || (*shape)[i] == 0 || (*shape)[i] == expected[i];
  if (!agrees)
    fail(std::string(op) + " needs " + argument + " of shape " + shown(expected) + ", got " + shown(*shape) +
         "; is it of another network?");
  *shape = expected;
}

/* Of (N, C, ...): what lies behind the channels. */
inline size_t inner_of(const std::vector<int64_t> &shape) {
  size_t inner = 1;
  for (size_t i = 2; i < shape.size(); ++i) inner *= static_cast<size_t>(shape[i]);
  return inner;
}

inline mxnet::ext::MXReturnValue dense_storage(const Attributes &, std::vector<int> *in, std::vector<int> *out) {
  for (int &storage : *in) storage = 0;
  for (int &storage : *out) storage = 0;
  return mxnet::ext::MX_SUCCESS;
}

/* Memory that starts on a cache line: words across two of them cost a small kernel a tenth of its speed. */
inline uint64_t *workspace(const mxnet::ext::OpResource &resource, size_t bytes) {
  const uintptr_t start = reinterpret_cast<uintptr_t>(resource.alloc_cpu(static_cast<int>(bytes + 63)));
  return reinterpret_cast<uint64_t *>((start + 63) & ~uintptr_t(63));
}

/* What attributes say about a convolution; batch, channels, height and width remain 0. */
inline qnn_conv2d_shape geometry_of(const Attributes &attributes) {
  const std::vector<size_t> kernel = sizes(attributes, "kernel", 2, 0), stride = sizes(attributes, "stride", 2, 1);
  const std::vector<size_t> dilate = sizes(attributes, "dilate", 2, 1), pad = sizes(attributes, "pad", 2, 0);
  qnn_conv2d_shape shape = {};
  shape.num_filter = static_cast<size_t>(number(attributes, "num_filter", 0));
  shape.num_group = static_cast<size_t>(number(attributes, "num_group", 1));
  shape.kernel_h = kernel[0], shape.kernel_w = kernel[1];
  shape.stride_h = stride[0], shape.stride_w = stride[1];
  shape.dilate_h = dilate[0], shape.dilate_w = dilate[1];
  shape.pad_h = pad[0], shape.pad_w = pad[1];
  shape.pad_value = static_cast<int>(number(attributes, "pad_value", 1));
  return shape;
}

/* The same with what data (N, C, H, W) say. */
template <typename Dims>
qnn_conv2d_shape convolution_of(const Attributes &attributes, const Dims &data) {
  qnn_conv2d_shape shape = geometry_of(attributes);
  shape.batch = static_cast<size_t>(data[0]);
  shape.channels = static_cast<size_t>(data[1]);
  shape.height = static_cast<size_t>(data[2]);
  shape.width = static_cast<size_t>(data[3]);
  return shape;
}

/* gluon's CachedOp wants a backward even for inference. */
inline mxnet::ext::MXReturnValue no_backward(const Attributes &, Tensors *, Tensors *, const mxnet::ext::OpResource &) {
  fail("a packed layer has no gradient; train the float model and convert it again");
}

}  // namespace qnn

#endif
