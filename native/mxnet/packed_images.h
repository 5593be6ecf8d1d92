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
  if (shape.size() != 4 && shape.size() != 5)
    fail(std::string(op) + " needs a packed image of shape (N, H, W, words), or (N, planes, H, W, words), got " + shown(shape));
}

/* Planes of a packed image, and its last three axes. */
inline size_t planes_of(const Shape &image) { return image.size() == 5 ? image[1] : 1; }
inline unsigned height_of(const Shape &image) { return image[image.size() - 3]; }
inline unsigned width_of(const Shape &image) { return image[image.size() - 2]; }
inline unsigned words_of(const Shape &image) { return image[image.size() - 1]; }

/* One plane has no axis. */
inline Shape image_shape(size_t batch, size_t planes, unsigned height, unsigned width, unsigned words) {
  const unsigned n = static_cast<unsigned>(batch);
  if (planes == 1) return {n, height, width, words};
  return {n, static_cast<unsigned>(planes), height, width, words};
}

inline size_t planes_in(const Attributes &attributes, const char *name, size_t most) {
  const double value = number(attributes, name, 1);
  for (size_t planes = 1; planes <= most; ++planes)
    if (value == static_cast<double>(planes)) return planes;
  fail(std::string(name) + " is 1.." + std::to_string(most) + ", got '" + text(attributes, name, "") + "'");
}

inline int act_code(const Attributes &attributes, const char *name) {
  const std::string value = text(attributes, name, "bipolar");
  if (value != "bipolar" && value != "unsigned" && value != "signed")
    fail(std::string(name) + " is bipolar, unsigned or signed, got '" + value + "'");
  return value == "bipolar" ? QNN_BIPOLAR : value == "unsigned" ? QNN_UNSIGNED : QNN_SIGNED;
}

/* What borders of a code may be. */
inline void check_padding(const std::vector<size_t> &pad, int pad_value, int code, const char *op) {
  if (code != QNN_BIPOLAR && pad_value != 0 && (pad[0] || pad[1]))
    fail(std::string(op) + " pads unsigned and signed codes with 0, got " + std::to_string(pad_value));
}

/* Thresholds of 2^planes - 1 steps for `count` channels; one step has one axis. */
inline Shape steps_shape(size_t planes, size_t count) {
  const unsigned n = static_cast<unsigned>(count);
  if (planes == 1) return {n};
  return {(1u << planes) - 1, n};
}

/* Size of the image without its padding. */
inline size_t inner(size_t padded, size_t pad, const char *op, const Shape &image) {
  if (padded <= 2 * pad) fail(std::string(op) + " needs a packed image larger than its padding, got " + shown(image));
  return padded - 2 * pad;
}

inline Shape shape_of(const mxnet::ext::MXTensor &tensor) { return Shape(tensor.shape.begin(), tensor.shape.end()); }

}  // namespace qnn

#endif
