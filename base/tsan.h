/* base/tsan.h - telling ThreadSanitizer what a library that it cannot see into does.
 *
 * libzmq is not built with it, so it does not know that what was written before a send is visible
 * after the receive. Saying so at the two places where pointers cross (actors/mailbox.c,
 * transport/frame.c) makes its reports true. Costs nothing in other builds. */
#ifndef BASE_TSAN_H
#define BASE_TSAN_H

#if defined(__SANITIZE_THREAD__)
#define TSAN_BUILD 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN_BUILD 1
#endif
#endif

#ifdef TSAN_BUILD
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define TSAN_ACQUIRE(address) __tsan_acquire(address)
#define TSAN_RELEASE(address) __tsan_release(address)
#else
#define TSAN_ACQUIRE(address) ((void)(address))
#define TSAN_RELEASE(address) ((void)(address))
#endif

#endif
