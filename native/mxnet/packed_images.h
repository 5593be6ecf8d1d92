/* packed_images.h: what the operators on packed images share: axes, words, padding. */
#ifndef QNN_MXNET_PACKED_IMAGES_H
#define QNN_MXNET_PACKED_IMAGES_H

#include "adapter.h"

namespace qnn {

const unsigned kWordBits = 64;

inline unsigned words_for(size_t bits) { return static_cast<unsigned>((bits + kWordBits - 1) / kWordBits); }

/* A size as an axis of an output; beyond, 32-bit shapes would wrap. */
inline unsigned axis(size_t size, const char *op) {
  if (size > kMaxDim) fail(std::string(op) + " would be " + std::to_string(size) + " pixels long, larger than an axis of MXNet");
  return static_cast<unsigned>(size);
}

/* A choice among two names; the first is the default. */
inline bool is_second(const Attributes &attributes, const char *name, const char *first, const char *second) {
  const std::string value = text(attributes, name, first);
  if (value != first && value != second)
    fail(std::string(name) + " is " + first + " or " + second + ", got '" + value + "'");
  return value == second;
}

inline const uint64_t *words_of(mxnet::ext::MXTensor &tensor) { return tensor.data<uint64_t>(); }

inline void check_image_shape(const Shape &shape, const char *op) {
  check_data_shape(shape, op);
  if (shape.size() != 4) fail(std::string(op) + " needs a packed image of shape (N, H, W, words), got " + shown(shape));
}

/* Size of the image without its padding. */
inline size_t inner(size_t padded, size_t pad, const char *op, const Shape &image) {
  if (padded <= 2 * pad) fail(std::string(op) + " needs a packed image larger than its padding, got " + shown(image));
  return padded - 2 * pad;
}

inline Shape shape_of(const mxnet::ext::MXTensor &tensor) { return Shape(tensor.shape.begin(), tensor.shape.end()); }

}  // namespace qnn

#endif
