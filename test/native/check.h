// The frame of the test programs (with check.cc and main.cc): TEST("sentence") { CHECK... }, each case listed and run by its sentence.
// A failed check ends its case with the place, the expression and what both sides were.
#pragma once

#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace check {

struct Case {
  const char* name;
  void (*run)();
};
std::vector<Case>& cases();

struct Registration {
  Registration(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// What this machine lacks: the case passes, and says so on its standard output.
struct Skipped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void fail(const char* file, int line, const std::string& words);

template <typename T>
std::string show(const T& value) {
  std::ostringstream out;
  if constexpr (std::is_enum_v<T>)
    out << static_cast<long long>(value);
  else if constexpr (std::is_same_v<T, bool>)
    out << (value ? "true" : "false");
  else if constexpr (std::is_integral_v<T>)
    out << +value << " (0x" << std::hex << static_cast<unsigned long long>(value) << ")";
  else
    out << value;
  return out.str();
}

// Integers compare by their mathematical values, whatever their types are.
template <typename A, typename B>
bool isEqual(const A& a, const B& b) {
  if constexpr (std::is_integral_v<A> && std::is_integral_v<B>)
    return static_cast<__int128>(a) == static_cast<__int128>(b);
  else
    return a == b;
}

template <typename A, typename B>
void equal(const A& got, const B& wanted, const char* gotText, const char* wantedText, const char* file, int line) {
  if (isEqual(got, wanted)) return;
  fail(file, line, std::string(gotText) + " is " + show(got) + ", expected " + wantedText + " = " + show(wanted));
}

constexpr int kFailed = 1, kSkipped = 2;
// Runs `body`. 0, kFailed or kSkipped, and why.
int outcomeOf(const std::function<void()>& body, std::string& words);

// In a child: it is killed when the test program ends, however that ends.
void dieWithParent();

// Runs `body` in a forked child and passes its failure on; a child that dies otherwise is a failure too.
void inChild(const std::function<void()>& body);

}  // namespace check

#define CHECK_JOIN_(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN_(a, b)
#define TEST(name)                                                                                      \
  static void CHECK_JOIN(case_, __LINE__)();                                                            \
  static const check::Registration CHECK_JOIN(registration_, __LINE__){name, CHECK_JOIN(case_, __LINE__)}; \
  static void CHECK_JOIN(case_, __LINE__)()
#define CHECK(condition) \
  do {                   \
    if (!(condition)) check::fail(__FILE__, __LINE__, "not so: " #condition); \
  } while (0)
#define CHECK_EQ(got, wanted) check::equal((got), (wanted), #got, #wanted, __FILE__, __LINE__)
#define CHECK_THROWS(expression)                                              \
  do {                                                                        \
    bool hasThrown = false;                                                   \
    try {                                                                     \
      (void)(expression);                                                     \
    } catch (const check::Failure&) {                                         \
      throw;                                                                  \
    } catch (const std::exception&) {                                         \
      hasThrown = true;                                                       \
    }                                                                         \
    if (!hasThrown) check::fail(__FILE__, __LINE__, "throws nothing: " #expression); \
  } while (0)
