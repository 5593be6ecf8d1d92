/* Attributes of MXNet operators: strings in, numbers out, one error sentence each. A thrown std::runtime_error becomes an
 * MXNetError with its text; MX_ERROR_MSG would pile up the texts of all earlier errors. */
#ifndef QNN_MXNET_ATTRIBUTES_H
#define QNN_MXNET_ATTRIBUTES_H

#include <cstdlib>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace qnn {

typedef std::unordered_map<std::string, std::string> Attributes;

[[noreturn]] inline void fail(const std::string &text) { throw std::runtime_error(text); }

inline void check_known(const Attributes &attributes, const char *op, std::initializer_list<const char *> known) {
  for (const auto &attribute : attributes) {
    if (attribute.first.compare(0, 2, "__") == 0) continue;  // AttrScope and our own marks
    bool is_known = false;
    for (const char *name : known) is_known = is_known || attribute.first == name;
    if (!is_known) fail(std::string(op) + " has no attribute '" + attribute.first + "'");
  }
}

inline std::string text(const Attributes &attributes, const char *name, const char *otherwise) {
  const auto found = attributes.find(name);
  return found == attributes.end() ? otherwise : found->second;
}

inline bool flag(const Attributes &attributes, const char *name) {
  const std::string value = text(attributes, name, "False");
  return value == "True" || value == "true" || value == "1";
}

inline double number(const Attributes &attributes, const char *name, double otherwise) {
  const auto found = attributes.find(name);
  if (found == attributes.end()) return otherwise;
  char *end = nullptr;
  const double value = std::strtod(found->second.c_str(), &end);
  if (end == found->second.c_str() || *end != '\0') fail(std::string(name) + " is a number, got '" + found->second + "'");
  return value;
}

/* "(3, 3)" or "[3, 3]" -> {3, 3}; absent or empty -> `count` times `otherwise`. */
inline std::vector<size_t> sizes(const Attributes &attributes, const char *name, size_t count, size_t otherwise) {
  const std::string value = text(attributes, name, "");
  std::vector<size_t> result;
  for (const char *at = value.c_str(); *at != '\0';) {
    if (*at < '0' || *at > '9') {
      if (*at == '-') fail(std::string(name) + " is a tuple of sizes, got '" + value + "'");
      ++at;
      continue;
    }
    char *end = nullptr;
    result.push_back(std::strtoull(at, &end, 10));
    at = end;
  }
  if (result.empty()) result.assign(count, otherwise);
  if (result.size() != count) fail(std::string(name) + " is a tuple of " + std::to_string(count) + " sizes, got '" + value + "'");
  return result;
}

}  // namespace qnn

#endif
