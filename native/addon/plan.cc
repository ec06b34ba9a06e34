#include "plan.h"

#include <algorithm>

namespace postern {
namespace {

constexpr uint32_t kPointerBytes = 8;
constexpr uint32_t kIntBytes = 4;

bool isAccess(uint32_t access) {
  if ((access & ~(kToDriver | kFromDriver | kFromDriverOnError)) != 0) return false;
  return (access & kFromDriverOnError) == 0 || (access & kFromDriver) != 0;
}

// [offset, offset + width) inside `bytes`, overflow-safe.
bool isInside(uint32_t offset, uint32_t width, uint32_t bytes) { return width <= bytes && offset <= bytes - width; }

PlanError checkGrants(const Plan& plan, const Envelope& envelope, const PlanContext& context) {
  if (!plan.grants.empty() && !context.nested) return PlanError::kNotNested;
  uint64_t sum = 0;
  for (const Grant& grant : plan.grants) {
    if (!isAccess(grant.access) || grant.access == 0) return PlanError::kAccess;
    if (grant.length == 0) return PlanError::kGrantLength;
    if (!isGuestRange(grant.address, grant.length)) return PlanError::kGrantAddress;
    sum += grant.length;  // at most kGrantsMax times 2^32: no overflow in 64 bits
    if (sum > envelope.grantBytesMax) return PlanError::kGrantLength;
  }
  return PlanError::kNone;
}

uint32_t regionBytes(const Plan& plan, const PlanContext& context, uint32_t region) {
  return region == 0 ? context.headBytes : plan.grants[region - 1].length;
}

uint32_t regionAccess(const Plan& plan, uint32_t region) { return region == 0 ? plan.headAccess : plan.grants[region - 1].access; }

PlanError checkRelocations(const Plan& plan, const PlanContext& context) {
  std::vector<std::pair<uint32_t, uint32_t>> places;
  for (const ExchangeRelocation& relocation : plan.relocations) {
    if (relocation.region == kSourceArgument) {
      if (context.operation != Operation::kIoctl || context.headBytes != 0) return PlanError::kRelocationRegion;
      if (relocation.offset != 0) return PlanError::kRelocationOffset;
      if (relocation.target == 0 || relocation.target > plan.grants.size()) return PlanError::kRelocationTarget;
      places.emplace_back(relocation.region, relocation.offset);
      continue;
    }
    if (relocation.region > plan.grants.size()) return PlanError::kRelocationRegion;
    if (relocation.target == 0 || relocation.target > plan.grants.size()) return PlanError::kRelocationTarget;
    // Only a region whose bytes go to the driver has pointers that it follows.
    if ((regionAccess(plan, relocation.region) & kToDriver) == 0) return PlanError::kRelocationRegion;
    if (!isInside(relocation.offset, kPointerBytes, regionBytes(plan, context, relocation.region)))
      return PlanError::kRelocationOffset;
    places.emplace_back(relocation.region, relocation.offset);
  }
  std::sort(places.begin(), places.end());
  for (size_t i = 1; i < places.size(); i++)
    if (places[i].first == places[i - 1].first && places[i].second - places[i - 1].second < kPointerBytes)
      return PlanError::kRelocationOffset;
  return PlanError::kNone;
}

// Whether there is a value of a handle's width.
bool isHandle(const Plan& plan, const PlanContext& context, uint32_t source, uint32_t offset, uint32_t width) {
  if (width != 4 && width != 8) return false;
  if (source == kSourceOffset || source == kSourceArgument) return true;
  return source <= plan.grants.size() && isInside(offset, width, regionBytes(plan, context, source));
}

PlanError checkRequirements(const Plan& plan, const PlanContext& context) {
  for (const ExchangeRequirement& requirement : plan.requirements) {
    if (requirement.errnum == 0 || requirement.errnum > kErrnoMax) return PlanError::kErrno;
    if (requirement.within > static_cast<uint32_t>(Scope::kSession)) return PlanError::kRequirement;
    if (!isHandle(plan, context, requirement.source, requirement.offset, requirement.width)) return PlanError::kRequirement;
  }
  return PlanError::kNone;
}

PlanError checkForgettings(const Plan& plan, const PlanContext& context) {
  for (const ExchangeForgetting& forgetting : plan.forgettings) {
    const bool isWhole = forgetting.width == 0;  // all that the session has learnt
    if (!isWhole && !isHandle(plan, context, forgetting.source, forgetting.offset, forgetting.width)) return PlanError::kForget;
  }
  return PlanError::kNone;
}

// Whether two places of one region have bytes in common.
bool isAcross(uint32_t offset, uint32_t width, uint32_t other, uint32_t otherWidth) {
  return uint64_t(offset) < uint64_t(other) + otherWidth && uint64_t(other) < uint64_t(offset) + width;
}

PlanError checkDescriptor(const Plan& plan, const PlanContext& context, const ExchangeDescriptor& descriptor) {
  const auto flow = static_cast<DescriptorFlow>(descriptor.flow);
  if (context.operation != Operation::kIoctl || descriptor.kind >= kDescriptorKinds) return PlanError::kDescriptor;
  if (flow > DescriptorFlow::kRepeated || descriptor.region > plan.grants.size()) return PlanError::kDescriptor;
  // Only what goes to the driver may be as wide as a property's value.
  if (descriptor.width != kIntBytes && (descriptor.width != 8 || flow != DescriptorFlow::kToDriver)) return PlanError::kDescriptor;
  if (!isInside(descriptor.offset, descriptor.width, regionBytes(plan, context, descriptor.region))) return PlanError::kDescriptor;
  const uint32_t needed = flow != DescriptorFlow::kToDriver ? kFromDriver : kToDriver;
  if ((regionAccess(plan, descriptor.region) & needed) == 0) return PlanError::kDescriptor;
  for (const ExchangeRelocation& relocation : plan.relocations)
    if (relocation.region == descriptor.region && isAcross(descriptor.offset, descriptor.width, relocation.offset, kPointerBytes))
      return PlanError::kDescriptor;
  return PlanError::kNone;
}

// One int may be a descriptor both ways, as EXECBUFFER's fence is: then it is the same int.
bool isConflict(const ExchangeDescriptor& one, const ExchangeDescriptor& other) {
  if (one.region != other.region || !isAcross(one.offset, one.width, other.offset, other.width)) return false;
  return one.offset != other.offset || one.width != other.width || one.flow == other.flow;
}

PlanError checkDescriptors(const Plan& plan, const PlanContext& context) {
  for (size_t i = 0; i < plan.descriptors.size(); i++) {
    if (checkDescriptor(plan, context, plan.descriptors[i]) != PlanError::kNone) return PlanError::kDescriptor;
    for (size_t k = 0; k < i; k++)
      if (isConflict(plan.descriptors[i], plan.descriptors[k])) return PlanError::kDescriptor;
  }
  return PlanError::kNone;
}

}  // namespace

bool isGuestRange(uint64_t address, uint64_t length) {
  if (address < kGuestAddressFirst || address >= kGuestAddressEnd) return false;
  return length <= kGuestAddressEnd - address;
}

PlanError readPlan(const Exchange& exchange, const Envelope& envelope, const PlanContext& context, Plan& plan) {
  uint32_t operationBit = 1u << static_cast<uint32_t>(context.operation);
  if ((envelope.operations & operationBit) == 0) return PlanError::kNotAllowed;
  // Each count is read once: the checks and the copies must see the same number.
  const uint32_t grants = exchange.grants, relocations = exchange.relocations, requirements = exchange.requirements,
                 descriptors = exchange.descriptors, forgets = exchange.forgets;
  if (grants > std::min(envelope.grantsMax, kGrantsMax)) return PlanError::kGrantCount;
  if (relocations > std::min(envelope.relocationsMax, kRelocationsMax)) return PlanError::kRelocationCount;
  if (requirements > std::min(envelope.requirementsMax, kRequirementsMax)) return PlanError::kRequirementCount;
  if (descriptors > std::min(envelope.descriptorsMax, kDescriptorsMax)) return PlanError::kDescriptorCount;
  if (forgets > kForgetsMax) return PlanError::kForgetCount;
  plan.headAccess = exchange.headAccess;
  plan.blocking = exchange.blocking != 0;
  plan.alone = exchange.alone != 0;
  plan.grants.resize(grants);
  for (uint32_t i = 0; i < grants; i++)
    plan.grants[i] = {exchange.grant[i].address, exchange.grant[i].length, exchange.grant[i].access};
  plan.relocations.assign(exchange.relocation, exchange.relocation + relocations);
  plan.requirements.assign(exchange.requirement, exchange.requirement + requirements);
  plan.descriptors.assign(exchange.descriptor, exchange.descriptor + descriptors);
  plan.forgettings.assign(exchange.forget, exchange.forget + forgets);
  // Whether a failed driver's bytes count depends on the arguments in some commands: a reply is allowed either way or not at all.
  const uint32_t widest = context.rowAccess | ((context.rowAccess & kFromDriver) != 0 ? kFromDriverOnError : 0);
  if (!isAccess(plan.headAccess) || (plan.headAccess & ~widest) != 0) return PlanError::kAccess;
  if (PlanError error = checkGrants(plan, envelope, context); error != PlanError::kNone) return error;
  if (PlanError error = checkRelocations(plan, context); error != PlanError::kNone) return error;
  if (PlanError error = checkRequirements(plan, context); error != PlanError::kNone) return error;
  if (PlanError error = checkForgettings(plan, context); error != PlanError::kNone) return error;
  return checkDescriptors(plan, context);
}

}  // namespace postern
