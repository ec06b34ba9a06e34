// What JavaScript sees of domains and mediators.
#include <napi.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "bindings.h"
#include "mediator.h"

namespace postern {
namespace {

uint32_t number(const Napi::Object& object, const char* name) { return object.Get(name).As<Napi::Number>().Uint32Value(); }
int descriptor(const Napi::Object& object, const char* name) { return object.Get(name).As<Napi::Number>().Int32Value(); }
uint64_t large(const Napi::Object& object, const char* name) {
  Napi::Value value = object.Get(name);
  if (!value.IsBigInt()) return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
  bool lossless;
  return value.As<Napi::BigInt>().Uint64Value(&lossless);
}
std::string text(const Napi::Object& object, const char* name) { return object.Get(name).As<Napi::String>(); }

template <typename Visit>
void forEach(const Napi::Value& array, Visit visit) {
  Napi::Array items = array.As<Napi::Array>();
  for (uint32_t i = 0; i < items.Length(); i++) visit(Napi::Value(items.Get(i)));
}

// addDomain({memory, memoryBytes, channels, channelsAddress, pages, doorbell, channelEvents}) -> number
Napi::Value bindAddDomain(const Napi::CallbackInfo& info) {
  Napi::Object from = info[0].As<Napi::Object>();
  DomainOptions options;
  options.memory = descriptor(from, "memory");
  options.memoryBytes = large(from, "memoryBytes");
  options.channels = number(from, "channels");
  options.channelsAddress = large(from, "channelsAddress");
  options.doorbell = descriptor(from, "doorbell");
  if (Napi::Value pages = from.Get("pages"); pages.IsTypedArray()) {
    auto array = pages.As<Napi::BigUint64Array>();
    options.pages.assign(array.Data(), array.Data() + array.ElementLength());
  }
  if (Napi::Value events = from.Get("channelEvents"); events.IsArray())
    forEach(events, [&](const Napi::Value& event) { options.channelEvents.push_back(event.As<Napi::Number>().Int32Value()); });
  try {
    return Napi::Number::New(info.Env(), addDomain(std::make_shared<Domain>(std::move(options))));
  } catch (const std::exception& error) {
    throw Napi::Error::New(info.Env(), error.what());
  }
}

void bindRemoveDomain(const Napi::CallbackInfo& info) { removeDomain(info[0].As<Napi::Number>().Uint32Value()); }

// sendPlan(socket, plan): the launcher's length-prefixed plan.
void sendPlan(const Napi::CallbackInfo& info) {
  int socket = info[0].As<Napi::Number>().Int32Value();
  std::string plan = info[1].As<Napi::String>();
  // Before anything is sent: the answer carries its sender's number only if this is set by then.
  const int on = 1;
  (void)setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  uint32_t bytes = static_cast<uint32_t>(plan.size());
  plan.insert(0, reinterpret_cast<const char*>(&bytes), sizeof bytes);
  for (size_t done = 0; done < plan.size();) {
    ssize_t sent = send(socket, plan.data() + done, plan.size() - done, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) throw Napi::Error::New(info.Env(), std::string("sending the launcher its plan: ") + std::strerror(errno));
    done += static_cast<size_t>(sent);
  }
}

// receiveListener(socket) -> {listener, process}: waits for the launcher. Throws what the launcher complains of.
Napi::Value receiveListener(const Napi::CallbackInfo& info) {
  int socket = info[0].As<Napi::Number>().Int32Value();
  char bytes[1024];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
  iovec vector{bytes, sizeof bytes};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  int listener = -1;
  ucred credentials{};
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); got > 0 && part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET) continue;
    if (part->cmsg_type == SCM_RIGHTS) std::memcpy(&listener, CMSG_DATA(part), sizeof listener);
    if (part->cmsg_type == SCM_CREDENTIALS) std::memcpy(&credentials, CMSG_DATA(part), sizeof credentials);
  }
  if (got >= 1 && bytes[0] == 'L' && listener >= 0) {
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("listener", listener);
    result.Set("process", static_cast<double>(credentials.pid));
    return result;
  }
  if (listener >= 0) close(listener);
  std::string complaint = got > 1 && bytes[0] == 'E' ? std::string(bytes + 1, static_cast<size_t>(got) - 1) : "it ended without a word";
  throw Napi::Error::New(info.Env(), "The launcher could not start the guest: " + complaint);
}

void sendGo(const Napi::CallbackInfo& info) { (void)send(info[0].As<Napi::Number>().Int32Value(), "G", 1, MSG_NOSIGNAL); }

Envelope envelopeOf(const Napi::Object& from) {
  Envelope envelope;
  envelope.argumentBytesMax = large(from, "argumentBytesMax");
  envelope.transferBytesMax = large(from, "transferBytesMax");
  envelope.grantBytesMax = large(from, "grantBytesMax");
  envelope.grantsMax = number(from, "grantsMax");
  envelope.relocationsMax = number(from, "relocationsMax");
  envelope.requirementsMax = number(from, "requirementsMax");
  if (Napi::Value most = from.Get("descriptorsMax"); most.IsNumber()) envelope.descriptorsMax = most.As<Napi::Number>().Uint32Value();
  envelope.sessionsMax = number(from, "sessionsMax");
  envelope.operationsInFlightMax = number(from, "operationsInFlightMax");
  envelope.mappedPagesMax = number(from, "mappedPagesMax");
  envelope.handlesMax = number(from, "handlesMax");
  envelope.operations = number(from, "operations");
  forEach(from.Get("ioctlTypes"), [&](const Napi::Value& type) { envelope.ioctlTypes[type.As<Napi::Number>().Uint32Value() & 0xff] = true; });
  envelope.pollSynchronizes = from.Get("pollSynchronizes").ToBoolean().Value();
  envelope.writesJudged = from.Get("writesJudged").ToBoolean().Value();
  return envelope;
}

// {reads, rows, handovers: [{take, takeArgument, give, giveArgument, always}], replays: [{row, offset}]}
Foreground frontOf(const Napi::Object& from, size_t rows) {
  Foreground foreground;
  foreground.reads = from.Get("reads").ToBoolean().Value();
  foreground.rows.resize(rows);
  forEach(from.Get("rows"), [&](const Napi::Value& row) {
    if (row.As<Napi::Number>().Uint32Value() < rows) foreground.rows[row.As<Napi::Number>().Uint32Value()] = true;
  });
  forEach(from.Get("handovers"), [&](const Napi::Value& item) {
    Napi::Object handover = item.As<Napi::Object>();
    foreground.handovers.push_back({number(handover, "take"), number(handover, "give"), large(handover, "takeArgument"),
                                    large(handover, "giveArgument"), handover.Get("always").ToBoolean().Value()});
  });
  forEach(from.Get("replays"), [&](const Napi::Value& item) {
    Napi::Object replay = item.As<Napi::Object>();
    foreground.replays[number(replay, "row")] = number(replay, "offset");
  });
  return foreground;
}

DeviceClass classOf(const Napi::Object& from) {
  DeviceClass deviceClass;
  deviceClass.envelope = envelopeOf(from.Get("envelope").As<Napi::Object>());
  deviceClass.isExclusive = from.Get("exclusive").ToBoolean().Value();
  deviceClass.areTransfersUnsettled = from.Get("unsettledTransfers").ToBoolean().Value();
  deviceClass.isOnTrial = from.Get("onTrial").ToBoolean().Value();
  forEach(from.Get("commands"), [&](const Napi::Value& item) {
    Napi::Object command = item.As<Napi::Object>();
    CommandRow row{number(command, "number"), number(command, "mask"), number(command, "headBytes"), number(command, "access"),
                   command.Get("nested").ToBoolean().Value(), command.Get("unsettled").ToBoolean().Value(),
                   command.Get("steady").ToBoolean().Value(), command.Get("refused").ToBoolean().Value()};
    const uint32_t index = static_cast<uint32_t>(deviceClass.rows.size());
    if (row.mask == 0xffffffffu)
      deviceClass.exact[row.number] = index;
    else
      deviceClass.masked.push_back(index);
    deviceClass.rows.push_back(row);
  });
  if (Napi::Value foreground = from.Get("foreground"); foreground.IsObject())
    deviceClass.foreground = frontOf(foreground.As<Napi::Object>(), deviceClass.rows.size());
  return deviceClass;
}

VmGuestOptions vmOf(const Napi::Object& from) {
  VmGuestOptions vm;
  vm.ram = descriptor(from, "ram");
  vm.ramBytes = large(from, "ramBytes");
  vm.aperture = descriptor(from, "aperture");
  vm.apertureBytes = large(from, "apertureBytes");
  vm.doorbell = descriptor(from, "doorbell");
  vm.interrupt = descriptor(from, "interrupt");
  vm.process = descriptor(from, "process");
  vm.memory = descriptor(from, "memory");
  vm.memoryReadOnly = descriptor(from, "memoryReadOnly");
  vm.gifts = descriptor(from, "gifts");
  return vm;
}

class MediatorObject : public Napi::ObjectWrap<MediatorObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Mediator",
                       {InstanceMethod<&MediatorObject::read>("read"),
                        InstanceMethod<&MediatorObject::counters>("counters"),
                        InstanceMethod<&MediatorObject::configure>("configure"), InstanceMethod<&MediatorObject::setFront>("setFront"), InstanceMethod<&MediatorObject::replaceDomain>("replaceDomain"), InstanceMethod<&MediatorObject::loseDomain>("loseDomain"), InstanceMethod<&MediatorObject::isInFlight>("isInFlight"),
                        InstanceMethod<&MediatorObject::openFiles>("openFiles"), InstanceMethod<&MediatorObject::close>("close")});
  }

  // new Mediator({listener, control, process, guest, spinUs, operationDeadlineMs, domain, classes, nodes, descriptors}, exchange: ArrayBuffer)
  explicit MediatorObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<MediatorObject>(info) {
    Napi::Object from = info[0].As<Napi::Object>();
    Napi::ArrayBuffer exchange = info[1].As<Napi::ArrayBuffer>();
    if (exchange.ByteLength() < sizeof(Exchange)) throw Napi::RangeError::New(info.Env(), "the exchange buffer is too small");
    MediatorOptions options;
    options.control = descriptor(from, "control");
    if (from.Get("vm").IsObject()) {
      options.vm = vmOf(from.Get("vm").As<Napi::Object>());
    } else {
      options.listener = descriptor(from, "listener");
      options.process = descriptor(from, "process");
    }
    options.guest = large(from, "guest");
    options.spinUs = number(from, "spinUs");
    options.operationDeadlineMs = number(from, "operationDeadlineMs");
    options.isFront = from.Get("front").ToBoolean().Value();
    options.domain = findDomain(number(from, "domain"));
    if (options.domain == nullptr) throw Napi::Error::New(info.Env(), "there is no driver domain of that number");
    forEach(from.Get("classes"), [&](const Napi::Value& item) { options.classes.push_back(classOf(item.As<Napi::Object>())); });
    forEach(from.Get("nodes"), [&](const Napi::Value& item) {
      Napi::Object object = item.As<Napi::Object>();
      Node node;
      node.path = text(object, "path");
      node.name = text(object, "name");
      node.classIndex = number(object, "classIndex");
      node.kind = number(object, "kind");
      node.major = number(object, "major");
      node.minor = number(object, "minor");
      options.nodes.push_back(std::move(node));
    });
    forEach(from.Get("descriptors"), [&](const Napi::Value& item) {
      Napi::Object object = item.As<Napi::Object>();
      auto node = std::make_unique<Node>();
      node->classIndex = number(object, "classIndex");
      node->kind = number(object, "node");
      const uint32_t kind = number(object, "kind");
      if (kind < kDescriptorKinds && node->classIndex < options.classes.size()) options.descriptorNodes[kind] = std::move(node);
    });
    exchange_ = Napi::Persistent(exchange);
    try {
      mediator_ = std::make_unique<Mediator>(std::move(options), static_cast<Exchange*>(exchange.Data()));
    } catch (const std::exception& error) {
      throw Napi::Error::New(info.Env(), error.what());
    }
    defineStep(info);
  }

 private:
  // The call of every operation is a function that has the object at hand: a method would look it up each time, which was a tenth of what a
  // mediator does for a posted packet.
  void defineStep(const Napi::CallbackInfo& info) {
    napi_value made;
    if (napi_create_function(info.Env(), "step", NAPI_AUTO_LENGTH, &MediatorObject::step, this, &made) != napi_ok)
      throw Napi::Error::New(info.Env(), "no function can be made");
    Napi::Object function(info.Env(), made), object = info.This().As<Napi::Object>();
    function.Set("mediator", object);  // Whoever keeps the function keeps the object.
    object.Set("step", function);
  }

  // step() -> event
  static napi_value step(napi_env env, napi_callback_info info) {
    void* object = nullptr;
    napi_value event = nullptr;
    if (napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &object) != napi_ok) return nullptr;
    Mediator* mediator = static_cast<MediatorObject*>(object)->mediator_.get();
    if (mediator == nullptr) {
      napi_throw_error(env, nullptr, "the mediator is closed");
      return nullptr;
    }
    (void)napi_create_uint32(env, static_cast<uint32_t>(mediator->step()), &event);
    return event;
  }

  // read(address: bigint, bytes, into: Uint8Array, at) -> errno
  Napi::Value read(const Napi::CallbackInfo& info) {
    bool lossless;
    const uint64_t address = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
    const uint32_t bytes = info[1].As<Napi::Number>().Uint32Value(), at = info[3].As<Napi::Number>().Uint32Value();
    Napi::Uint8Array into = info[2].As<Napi::Uint8Array>();
    if (mediator_ == nullptr || bytes > into.ByteLength() || at > into.ByteLength() - bytes) return Napi::Number::New(info.Env(), EFAULT);
    return Napi::Number::New(info.Env(), mediator_->readForPolicy(address, into.Data() + at, bytes));
  }

  Napi::Value counters(const Napi::CallbackInfo& info) {
    Napi::Object result = Napi::Object::New(info.Env());
    if (mediator_ == nullptr) return result;
    const Counters& counters = mediator_->counters();
    auto set = [&](const char* name, uint64_t value) { result.Set(name, static_cast<double>(value)); };
    set("notifications", counters.notifications);
    set("opensNative", counters.opensNative);
    set("operationsAllowed", counters.allowed);
    set("operationsDenied", counters.denied);
    set("operationsFailed", counters.failed);
    set("faults", counters.faults);
    set("bytesIn", counters.bytesIn);
    set("bytesOut", counters.bytesOut);
    set("pagesMapped", counters.pagesMapped);
    set("mappings", counters.mappings);
    set("sessions", counters.sessions);
    set("interrupted", counters.interrupted);
    set("posted", counters.posted);
    set("fallenBack", counters.fallenBack);
    return result;
  }

  // setFront(isFront)
  void setFront(const Napi::CallbackInfo& info) {
    if (mediator_ != nullptr) mediator_->setFront(info[0].ToBoolean().Value());
  }

  // loseDomain()
  void loseDomain(const Napi::CallbackInfo&) {
    if (mediator_ != nullptr) mediator_->loseDomain();
  }

  // replaceDomain(domain) -> boolean
  Napi::Value replaceDomain(const Napi::CallbackInfo& info) {
    auto next = findDomain(info[0].As<Napi::Number>().Uint32Value());
    if (next == nullptr) throw Napi::Error::New(info.Env(), "there is no driver domain of that number");
    return Napi::Boolean::New(info.Env(), mediator_ != nullptr && mediator_->replaceDomain(std::move(next)));
  }

  // configure(classIndex, {envelope, exclusive, onTrial, commands}, kinds: number[]) -> generation
  Napi::Value configure(const Napi::CallbackInfo& info) {
    const uint32_t classIndex = classIndexOf(info);
    std::vector<uint32_t> kinds;
    forEach(info[2], [&](const Napi::Value& kind) { kinds.push_back(kind.As<Napi::Number>().Uint32Value()); });
    return Napi::Number::New(info.Env(), mediator_->configure(classIndex, classOf(info[1].As<Napi::Object>()), kinds));
  }

  // isInFlight(classIndex, generation) -> boolean
  Napi::Value isInFlight(const Napi::CallbackInfo& info) {
    const uint32_t classIndex = classIndexOf(info);
    return Napi::Boolean::New(info.Env(), mediator_->isInFlight(classIndex, info[1].As<Napi::Number>().Uint32Value()));
  }

  // openFiles(classIndex) -> number
  Napi::Value openFiles(const Napi::CallbackInfo& info) {
    const uint32_t classIndex = classIndexOf(info);
    return Napi::Number::New(info.Env(), mediator_->openFiles(classIndex));
  }

  uint32_t classIndexOf(const Napi::CallbackInfo& info) {
    if (mediator_ == nullptr) throw Napi::Error::New(info.Env(), "the mediator is closed");
    const uint32_t classIndex = info[0].As<Napi::Number>().Uint32Value();
    if (classIndex >= mediator_->classCount()) throw Napi::RangeError::New(info.Env(), "there is no class of that number");
    return classIndex;
  }

  void close(const Napi::CallbackInfo&) { mediator_.reset(); }

  std::unique_ptr<Mediator> mediator_;
  Napi::Reference<Napi::ArrayBuffer> exchange_;
};

// The offsets of Exchange, so that JavaScript never counts bytes by hand.
Napi::Object exchangeLayout(Napi::Env env) {
  Napi::Object layout = Napi::Object::New(env);
#define POSTERN_FIELD(name) layout.Set(#name, static_cast<double>(offsetof(Exchange, name)))
  POSTERN_FIELD(event), POSTERN_FIELD(classIndex), POSTERN_FIELD(headBytes), POSTERN_FIELD(commandRow);
  POSTERN_FIELD(note), POSTERN_FIELD(noteDetail), POSTERN_FIELD(process), POSTERN_FIELD(noteErrno);
  POSTERN_FIELD(call), POSTERN_FIELD(outcome), POSTERN_FIELD(verdict), POSTERN_FIELD(errnum);
  POSTERN_FIELD(reason), POSTERN_FIELD(field), POSTERN_FIELD(headAccess), POSTERN_FIELD(blocking), POSTERN_FIELD(alone), POSTERN_FIELD(observed);
  POSTERN_FIELD(grants), POSTERN_FIELD(relocations), POSTERN_FIELD(requirements), POSTERN_FIELD(state);
  POSTERN_FIELD(descriptors), POSTERN_FIELD(descriptor);
  POSTERN_FIELD(watch), POSTERN_FIELD(idle), POSTERN_FIELD(lessons), POSTERN_FIELD(forgets);
  POSTERN_FIELD(masks), POSTERN_FIELD(settlementFault), POSTERN_FIELD(forget), POSTERN_FIELD(requirement);
  POSTERN_FIELD(lesson), POSTERN_FIELD(mask), POSTERN_FIELD(grant), POSTERN_FIELD(relocation), POSTERN_FIELD(head);
#undef POSTERN_FIELD
  layout.Set("bytes", static_cast<double>(sizeof(Exchange)));
  layout.Set("grantsMax", kGrantsMax);
  layout.Set("relocationsMax", kRelocationsMax);
  layout.Set("requirementsMax", kRequirementsMax);
  layout.Set("descriptorsMax", kDescriptorsMax);
  layout.Set("lessonsMax", kLessonsMax);
  layout.Set("forgetsMax", kForgetsMax);
  layout.Set("masksMax", kMasksMax);
  layout.Set("headBytesMax", kHeadBytesMax);
  return layout;
}

}  // namespace

int Mediator::readForPolicy(uint64_t address, uint8_t* to, uint32_t bytes) {
  if (current_ == nullptr || current_->phase != Phase::kJudging) return EFAULT;
  if (!isGuestRange(address, bytes)) return EFAULT;
  if (bytes > options_.classes[current_->session->node->classIndex].envelope.grantBytesMax) return E2BIG;
  // What was posted has no thread that surely waits: only a trapped call's memory is read.
  if (current_->ring != nullptr) {
    current_->needsCall = true;
    return EFAULT;
  }
  const int error = current_->snapshot.fetch(address, to, bytes);
  // A recycled thread number would have shown another process's memory.
  return error == 0 && !stillWaits(*current_) ? EFAULT : error;
}

void bindMediator(Napi::Env env, Napi::Object exports) {
  exports.Set("addDomain", Napi::Function::New(env, bindAddDomain));
  exports.Set("removeDomain", Napi::Function::New(env, bindRemoveDomain));
  exports.Set("sendPlan", Napi::Function::New(env, sendPlan));
  exports.Set("receiveListener", Napi::Function::New(env, receiveListener));
  exports.Set("sendGo", Napi::Function::New(env, sendGo));
  exports.Set("Mediator", MediatorObject::define(env));
  exports.Set("exchangeLayout", exchangeLayout(env));
}

}  // namespace postern
