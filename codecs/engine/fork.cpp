// Implements fork.hpp.
#include "engine/fork.hpp"

#include <atomic>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define NACRITH_FORKS 1
#endif

namespace nacrith {
namespace {

std::atomic<uint64_t> forks{0};
std::mutex set_up;

#ifdef NACRITH_FORKS
// The handlers are registered while the library is loaded, before it can be called. Registration fails only
// when there is no memory.
[[maybe_unused]] const int registered = pthread_atfork([] { set_up.lock(); }, [] { set_up.unlock(); },
                                                       [] {
                                                           forks++;
                                                           set_up.unlock();
                                                       });
#endif

}  // namespace

uint64_t generation() { return forks; }

std::mutex &fork_lock() { return set_up; }

}  // namespace nacrith
