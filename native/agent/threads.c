#include "threads.h"

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* As many as the ring has entries: the host has no more operations in flight. */
#define THREADS_MAX POSTERN_RING_ENTRIES
/* The agent's own frames are small; a sanitizer's are not. */
#define THREAD_STACK_BYTES (256u << 10)
/* A signal that comes before the system call sleeps is lost, so it is sent again and again. */
#define CANCEL_PERIOD_US 1000

struct worker {
  pthread_cond_t wake;
  bool started, has_task, cancelled;
  pid_t thread;
  uint64_t running_id; /* of the operation that is in its system call; 0: none */
  struct operation task;
};

static struct backend *process;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* covers all workers */
static pthread_cond_t cancel_wake = PTHREAD_COND_INITIALIZER;
static bool canceller_started;
static struct worker workers[THREADS_MAX];
static uint32_t running;

void threads_initialise(struct backend *backend) {
  process = backend;
  for (uint32_t i = 0; i < THREADS_MAX; i++) pthread_cond_init(&workers[i].wake, NULL);
}

int threads_start_helper(void *(*entry)(void *), void *argument) {
  pthread_t thread;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  int result = pthread_create(&thread, &attributes, entry, argument);
  pthread_attr_destroy(&attributes);
  return -result;
}

static void allow_cancel_signal(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, BACKEND_CANCEL_SIGNAL);
  pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

static struct operation take_task(struct worker *worker) {
  pthread_mutex_lock(&lock);
  while (!worker->has_task) pthread_cond_wait(&worker->wake, &lock);
  worker->has_task = false;
  worker->running_id = worker->task.op.id;
  struct operation task = worker->task;
  pthread_mutex_unlock(&lock);
  return task;
}

/* From here on the operation can't be cancelled and the worker can get its next one, although the host hasn't been
 * told yet: the host may answer the completion at once, and must find a free worker. */
static void end_task(struct worker *worker) {
  pthread_mutex_lock(&lock);
  worker->running_id = 0;
  worker->cancelled = false;
  __atomic_sub_fetch(&running, 1, __ATOMIC_RELAXED);
  pthread_mutex_unlock(&lock);
}

static void *worker_thread(void *argument) {
  struct worker *worker = argument;
  allow_cancel_signal();
  pthread_mutex_lock(&lock);
  worker->thread = (pid_t)syscall(SYS_gettid);
  pthread_mutex_unlock(&lock);
  for (;;) {
    struct operation task = take_task(worker);
    operation_run(process, &task);
    end_task(worker);
    operation_complete(process, &task);
  }
  return NULL;
}

/* A waiting worker, else one that has not been started, else NULL. */
static struct worker *free_worker(void) {
  struct worker *fresh = NULL;
  for (uint32_t i = 0; i < THREADS_MAX; i++) {
    struct worker *worker = &workers[i];
    if (worker->started && !worker->has_task && worker->running_id == 0) return worker;
    if (!worker->started && !fresh) fresh = worker;
  }
  return fresh;
}

static int give_task(const struct operation *operation) {
  struct worker *worker = free_worker();
  if (!worker) return -EBUSY;
  if (!worker->started) {
    int result = threads_start_helper(worker_thread, worker);
    if (result != 0) return result;
    worker->started = true;
  }
  worker->task = *operation;
  worker->has_task = true;
  worker->cancelled = false;
  __atomic_add_fetch(&running, 1, __ATOMIC_RELAXED);
  pthread_cond_signal(&worker->wake);
  return 0;
}

int threads_start(const struct operation *operation) {
  pthread_mutex_lock(&lock);
  int result = give_task(operation);
  pthread_mutex_unlock(&lock);
  return result;
}

bool threads_busy(void) { return __atomic_load_n(&running, __ATOMIC_RELAXED) != 0; }

static bool signal_cancelled(void) {
  bool any = false;
  for (uint32_t i = 0; i < THREADS_MAX; i++) {
    struct worker *worker = &workers[i];
    if (!worker->cancelled) continue;
    any = true;
    if (worker->running_id != 0) syscall(SYS_tgkill, getpid(), worker->thread, BACKEND_CANCEL_SIGNAL);
  }
  return any;
}

static void *canceller_thread(void *argument) {
  (void)argument;
  for (;;) {
    pthread_mutex_lock(&lock);
    while (!signal_cancelled()) pthread_cond_wait(&cancel_wake, &lock);
    pthread_mutex_unlock(&lock);
    struct timespec period = {.tv_nsec = CANCEL_PERIOD_US * 1000};
    nanosleep(&period, NULL);
  }
  return NULL;
}

static int start_canceller(void) {
  if (canceller_started) return 0;
  int result = threads_start_helper(canceller_thread, NULL);
  canceller_started = result == 0;
  return result;
}

static struct worker *worker_of(uint64_t id) {
  for (uint32_t i = 0; i < THREADS_MAX; i++) {
    struct worker *worker = &workers[i];
    if (worker->running_id == id || (worker->has_task && worker->task.op.id == id)) return worker;
  }
  return NULL;
}

int threads_cancel(uint64_t id) {
  if (id == 0) return -ENOENT;
  pthread_mutex_lock(&lock);
  struct worker *worker = worker_of(id);
  int result = worker ? start_canceller() : -ENOENT;
  if (result == 0) {
    worker->cancelled = true;
    pthread_cond_signal(&cancel_wake);
  }
  pthread_mutex_unlock(&lock);
  return result;
}
