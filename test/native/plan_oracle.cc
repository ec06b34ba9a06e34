#include "plan_oracle.h"

#include <cstring>
#include <set>

namespace postern {
namespace {

// Signed and wider than every number in a plan: no expression below can wrap.
using Wide = __int128;

// The end of x86-64 user space: the page below 2^47 is the kernel's guard page.
constexpr Wide kUserEnd = (Wide(1) << 47) - 4096;
constexpr Wide kPageBytes = 4096, kPointerBytes = 8;
constexpr uint32_t kReads = 1, kWrites = 2, kWritesOnError = 4;

bool isAccessWord(uint32_t access) {
  for (uint32_t known : {0u, kReads, kWrites, kReads | kWrites, kWrites | kWritesOnError, kReads | kWrites | kWritesOnError})
    if (access == known) return true;
  return false;
}

std::string brokenCount(const Exchange& exchange, const Envelope& envelope) {
  if (Wide(exchange.grants) > envelope.grantsMax || exchange.grants > kGrantsMax) return "too many grants";
  if (Wide(exchange.relocations) > envelope.relocationsMax || exchange.relocations > kRelocationsMax) return "too many relocations";
  if (Wide(exchange.requirements) > envelope.requirementsMax || exchange.requirements > kRequirementsMax) return "too many requirements";
  if (Wide(exchange.descriptors) > envelope.descriptorsMax || exchange.descriptors > kDescriptorsMax) return "too many descriptors";
  if (exchange.forgets > kForgetsMax) return "too many forgettings";
  return "";
}

std::string brokenHead(const Exchange& exchange, const PlanContext& context) {
  if (!isAccessWord(exchange.headAccess)) return "an access word that means nothing";
  if ((exchange.headAccess & kReads) != 0 && (context.rowAccess & kReads) == 0) return "the head is read though the row forbids it";
  if ((exchange.headAccess & kWrites) != 0 && (context.rowAccess & kWrites) == 0) return "the head is written though the row forbids it";
  return "";
}

std::string brokenGrant(const Exchange& exchange, const Envelope& envelope, const PlanContext& context) {
  if (exchange.grants > 0 && !context.nested) return "nested grants in a row without them";
  Wide sum = 0;
  for (uint32_t i = 0; i < exchange.grants; i++) {
    const ExchangeGrant& grant = exchange.grant[i];
    if (!isAccessWord(grant.access) || grant.access == 0) return "a grant of no or unknown access";
    if (grant.length == 0) return "an empty grant";
    if (Wide(grant.address) < kPageBytes) return "a grant in the null page";
    if (Wide(grant.address) + Wide(grant.length) > kUserEnd) return "a grant that leaves the guest's addresses";
    sum += grant.length;
  }
  return sum > Wide(envelope.grantBytesMax) ? "more bytes than the envelope allows" : "";
}

bool isPlace(const Exchange& exchange, const PlanContext& context, uint32_t region, Wide offset, Wide width) {
  if (region > exchange.grants) return false;
  const Wide bytes = region == 0 ? context.headBytes : exchange.grant[region - 1].length;
  return offset >= 0 && offset + width <= bytes;
}

std::string brokenRelocation(const Exchange& exchange, const PlanContext& context) {
  for (uint32_t i = 0; i < exchange.relocations; i++) {
    const ExchangeRelocation& one = exchange.relocation[i];
    if (one.region == 0xfffffffeu) {
      // The argument itself: a whole word, once, of an ioctl that has nothing else there.
      if (context.operation != Operation::kIoctl || context.headBytes > 0) return "an argument that is a head's address, or no argument";
      if (one.offset > 0) return "a pointer inside the argument";
      if (one.target < 1 || one.target > exchange.grants) return "an argument that leads to no grant";
      for (uint32_t k = 0; k < i; k++)
        if (exchange.relocation[k].region == one.region) return "an argument that leads to two grants";
      continue;
    }
    if (!isPlace(exchange, context, one.region, one.offset, kPointerBytes)) return "a pointer outside its region";
    if (one.target < 1 || one.target > exchange.grants) return "a pointer to no grant";
    const uint32_t access = one.region == 0 ? exchange.headAccess : exchange.grant[one.region - 1].access;
    if ((access & kReads) == 0) return "a pointer where the driver reads nothing";
    for (uint32_t k = 0; k < i; k++) {
      const ExchangeRelocation& other = exchange.relocation[k];
      const Wide distance = Wide(one.offset) - Wide(other.offset);
      if (one.region == other.region && distance > -kPointerBytes && distance < kPointerBytes) return "pointers across each other";
    }
  }
  return "";
}

std::string brokenRequirement(const Exchange& exchange, const PlanContext& context) {
  for (uint32_t i = 0; i < exchange.requirements; i++) {
    const ExchangeRequirement& one = exchange.requirement[i];
    if (one.errnum < 1 || one.errnum > 4095) return "a requirement without an errno";
    if (one.width != 4 && one.width != 8) return "a handle of a strange width";
    if (one.within > 2) return "a handle within no scope";
    if (one.source == 0xffffffffu || one.source == 0xfffffffeu) continue;
    if (!isPlace(exchange, context, one.source, one.offset, one.width)) return "a handle outside its region";
  }
  return "";
}

std::string brokenForgetting(const Exchange& exchange, const PlanContext& context) {
  for (uint32_t i = 0; i < exchange.forgets; i++) {
    const ExchangeForgetting& one = exchange.forget[i];
    if (one.width == 0) continue;
    if (one.width != 4 && one.width != 8) return "a forgotten handle of a strange width";
    if (one.source == 0xffffffffu || one.source == 0xfffffffeu) continue;
    if (!isPlace(exchange, context, one.source, one.offset, one.width)) return "a forgotten handle outside its region";
  }
  return "";
}

// Every byte of a place, for comparing places without arithmetic on their ends.
std::set<std::pair<uint32_t, uint64_t>> bytesOf(uint32_t region, uint32_t offset, uint32_t width) {
  std::set<std::pair<uint32_t, uint64_t>> bytes;
  for (uint64_t i = 0; i < width; i++) bytes.insert({region, offset + i});
  return bytes;
}

bool isTouching(const std::set<std::pair<uint32_t, uint64_t>>& bytes, uint32_t region, uint32_t offset, uint32_t width) {
  for (const auto& byte : bytesOf(region, offset, width))
    if (bytes.count(byte) != 0) return true;
  return false;
}

std::string brokenDescriptor(const Exchange& exchange, const PlanContext& context) {
  for (uint32_t i = 0; i < exchange.descriptors; i++) {
    const ExchangeDescriptor& one = exchange.descriptor[i];
    if (context.operation != Operation::kIoctl) return "a descriptor in what is no command";
    if (one.kind > 2 || one.flow > 2) return "a descriptor of no kind or flow";
    if (!(one.width == 4 || (one.width == 8 && one.flow == 0))) return "a descriptor of a strange width";
    if (!isPlace(exchange, context, one.region, one.offset, one.width)) return "a descriptor outside its region";
    const uint32_t access = one.region == 0 ? exchange.headAccess : exchange.grant[one.region - 1].access;
    if ((access & (one.flow == 0 ? kReads : kWrites)) == 0) return "a descriptor that goes where no bytes go";
    const auto bytes = bytesOf(one.region, one.offset, one.width);
    for (uint32_t k = 0; k < exchange.relocations; k++)
      if (isTouching(bytes, exchange.relocation[k].region, exchange.relocation[k].offset, 8)) return "a descriptor across a pointer";
    for (uint32_t k = 0; k < i; k++) {
      const ExchangeDescriptor& other = exchange.descriptor[k];
      const bool isSamePlace = one.region == other.region && one.offset == other.offset && one.width == other.width;
      if (isTouching(bytes, other.region, other.offset, other.width) && (!isSamePlace || one.flow == other.flow)) return "descriptors across each other";
    }
  }
  return "";
}

}  // namespace

std::string brokenRule(const PlanInput& input) {
  const Exchange& exchange = *input.exchange;
  if (((input.envelope.operations >> static_cast<uint32_t>(input.context.operation)) & 1) == 0) return "an operation that is not allowed";
  // What follows relies on the counts.
  if (std::string broken = brokenCount(exchange, input.envelope); !broken.empty()) return broken;
  for (const std::string& broken :
       {brokenHead(exchange, input.context), brokenGrant(exchange, input.envelope, input.context),
        brokenRelocation(exchange, input.context), brokenRequirement(exchange, input.context), brokenForgetting(exchange, input.context), brokenDescriptor(exchange, input.context)})
    if (!broken.empty()) return broken;
  return "";
}

std::string differenceFrom(const Plan& plan, const Exchange& exchange) {
  if (plan.headAccess != exchange.headAccess) return "head access";
  if (plan.blocking != (exchange.blocking != 0)) return "blocking";
  if (plan.alone != (exchange.alone != 0)) return "alone";
  if (plan.grants.size() != exchange.grants) return "number of grants";
  if (plan.relocations.size() != exchange.relocations) return "number of relocations";
  if (plan.requirements.size() != exchange.requirements) return "number of requirements";
  if (plan.descriptors.size() != exchange.descriptors) return "number of descriptors";
  if (plan.forgettings.size() != exchange.forgets) return "number of forgettings";
  for (size_t i = 0; i < plan.grants.size(); i++) {
    const Grant& grant = plan.grants[i];
    const ExchangeGrant& said = exchange.grant[i];
    if (grant.address != said.address || grant.length != said.length || grant.access != said.access) return "a grant";
  }
  for (size_t i = 0; i < plan.relocations.size(); i++)
    if (std::memcmp(&plan.relocations[i], &exchange.relocation[i], sizeof(ExchangeRelocation)) != 0) return "a relocation";
  for (size_t i = 0; i < plan.requirements.size(); i++)
    if (std::memcmp(&plan.requirements[i], &exchange.requirement[i], sizeof(ExchangeRequirement)) != 0) return "a requirement";
  for (size_t i = 0; i < plan.descriptors.size(); i++)
    if (std::memcmp(&plan.descriptors[i], &exchange.descriptor[i], sizeof(ExchangeDescriptor)) != 0) return "a descriptor";
  for (size_t i = 0; i < plan.forgettings.size(); i++)
    if (std::memcmp(&plan.forgettings[i], &exchange.forget[i], sizeof(ExchangeForgetting)) != 0) return "a forgetting";
  return "";
}

std::string disagreement(const PlanInput& input, PlanError& decision) {
  Plan plan;
  decision = readPlan(*input.exchange, input.envelope, input.context, plan);
  const std::string broken = brokenRule(input);
  if (decision == PlanError::kNone && !broken.empty()) return "accepted a plan with " + broken;
  if (decision != PlanError::kNone && broken.empty())
    return "refused a good plan with PlanError " + std::to_string(static_cast<uint32_t>(decision));
  if (decision != PlanError::kNone) return "";
  const std::string difference = differenceFrom(plan, *input.exchange);
  return difference.empty() ? "" : "copied wrongly: " + difference;
}

namespace {

// Reads numbers from bytes, and zeros after their end.
class Bytes {
 public:
  Bytes(const uint8_t* bytes, size_t count) : at_(bytes), end_(bytes + count) {}

  uint8_t byte() { return at_ < end_ ? *at_++ : 0; }
  uint64_t raw(int width) {
    uint64_t value = 0;
    for (int i = 0; i < width; i++) value |= uint64_t(byte()) << (8 * i);
    return value;
  }

  // Small as it is, beside a boundary, or anything.
  uint32_t word() {
    static constexpr uint32_t boundaries[] = {kGrantsMax, kRequirementsMax, 4095, 4096, 1u << 31, kSourceArgument, kSourceOffset, 0};
    const uint8_t selector = byte();
    if (selector < 192) return selector % 64;
    if (selector < 224) return boundaries[selector % 8] + static_cast<uint32_t>(selector / 8 % 4) - 2;
    return static_cast<uint32_t>(raw(4));
  }

  uint64_t address() {
    const uint8_t selector = byte();
    if (selector < 128) return kGuestAddressFirst + uint64_t(selector) * 16;
    if (selector < 160) return kGuestAddressFirst + 8 - (selector - 128);
    if (selector < 192) return kGuestAddressEnd + 8 - (selector - 160);
    if (selector < 208) return uint64_t(0) - (selector - 192);
    if (selector < 224) return kGuestAddressEnd - word();
    return raw(8);
  }

  uint32_t access() {
    const uint8_t selector = byte();
    static constexpr uint32_t meaningful[] = {1, 2, 3, 6, 7, 3, 1, 2};
    return selector < 240 ? meaningful[selector % 8] : raw(4) & 0xffffffffu;
  }

 private:
  const uint8_t *at_, *end_;
};

// Mostly what fits, so that plans are accepted often enough to be looked at.
uint32_t countFrom(Bytes& bytes) {
  const uint8_t selector = bytes.byte();
  return selector < 248 ? selector % 8 : bytes.word();
}

void fillEnvelope(Bytes& bytes, Envelope& envelope) {
  const uint8_t shape = bytes.byte();
  envelope.operations = (shape & 1) != 0 ? bytes.byte() : 0x3f;
  envelope.grantsMax = (shape & 2) != 0 ? bytes.word() : 8;
  envelope.relocationsMax = (shape & 4) != 0 ? bytes.word() : 8;
  envelope.requirementsMax = (shape & 8) != 0 ? bytes.word() : 8;
  envelope.descriptorsMax = (shape & 64) != 0 ? bytes.word() : 8;
  envelope.grantBytesMax = (shape & 16) != 0 ? bytes.raw(8) : (shape & 32) != 0 ? bytes.word() : uint64_t(1) << 36;
}

}  // namespace

PlanInput planFromBytes(const uint8_t* data, size_t count) {
  Bytes bytes(data, count);
  PlanInput input;
  fillEnvelope(bytes, input.envelope);
  const uint8_t shape = bytes.byte();
  input.context.operation = static_cast<Operation>(shape % 6);
  input.context.nested = shape < 240;
  input.context.headBytes = bytes.word();
  input.context.rowAccess = bytes.access();
  Exchange& exchange = *input.exchange;
  exchange.headAccess = bytes.byte() < 224 ? input.context.rowAccess & (kToDriver | kFromDriver) : bytes.access();
  const uint8_t thread = bytes.byte();
  exchange.blocking = thread & 3;
  exchange.alone = thread & 12;
  exchange.grants = countFrom(bytes);
  exchange.relocations = countFrom(bytes);
  exchange.requirements = countFrom(bytes);
  exchange.descriptors = countFrom(bytes);
  for (uint32_t i = 0; i < exchange.grants && i < kGrantsMax; i++) exchange.grant[i] = {bytes.address(), bytes.word(), bytes.access()};
  for (uint32_t i = 0; i < exchange.relocations && i < kRelocationsMax; i++) {
    const uint8_t selector = bytes.byte();
    exchange.relocation[i].region = selector < 224 ? selector % (exchange.grants % 16 + 1) : bytes.word();
    exchange.relocation[i].offset = bytes.word();
    exchange.relocation[i].target = selector < 224 ? bytes.byte() % (exchange.grants % 16 + 1) : bytes.word();
  }
  for (uint32_t i = 0; i < exchange.requirements && i < kRequirementsMax; i++) {
    const uint8_t selector = bytes.byte();
    exchange.requirement[i] = {bytes.byte(), selector < 128 ? selector % (exchange.grants % 16 + 1) : bytes.word(), bytes.word(),
                               selector % 16 != 0 ? (selector & 1) * 4u + 4u : bytes.word(), bytes.word(), bytes.byte(), selector % 32 != 31 ? selector % 3u : bytes.word()};
  }
  for (uint32_t i = 0; i < exchange.descriptors && i < kDescriptorsMax; i++) {
    const uint8_t selector = bytes.byte();
    exchange.descriptor[i] = {selector < 224 ? selector % (exchange.grants % 16 + 1) : bytes.word(), bytes.word(),
                              selector % 8 != 0 ? 4u : selector % 16 != 0 ? 8u : bytes.word(), selector % 32 != 31 ? selector % 3u : bytes.word(),
                              selector % 32 != 30 ? selector / 3 % 3u : bytes.word(), bytes.byte()};
  }
  exchange.forgets = countFrom(bytes);
  for (uint32_t i = 0; i < exchange.forgets && i < kForgetsMax; i++) {
    const uint8_t selector = bytes.byte();
    exchange.forget[i] = {bytes.byte(), selector < 128 ? selector % (exchange.grants % 16 + 1) : bytes.word(), bytes.word(),
                          selector % 16 != 0 ? selector % 3u * 4u : bytes.word()};
  }
  return input;
}

}  // namespace postern
