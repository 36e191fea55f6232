/*
 * A small shell around an XS engine: `shell [OPTIONS] FILE...` runs scripts, and prints what memory they took.
 *
 * Options set the creation record: --chunks INITIAL,INCREMENT (bytes), --slots INITIAL,INCREMENT, --stack SLOTS,
 * --keys INITIAL,INCREMENT. With --serve the shell goes on after the scripts: it takes frames from file descriptor 3
 * and answers on 4 (see serve()). A global `__shell` has what a harness needs and a microcontroller has not; the
 * harness takes it away before any test runs. The last line on standard output is `memory {...}`.
 *
 * Exit codes: 0 the scripts ran to their end, 1 an exception, 2 wrong usage, 100 and above: the engine gave up.
 */
#include "xsmc.h"
#include "memory.h"
#include <errno.h>

typedef void (*NativeFunction)(xsMachine*);
typedef struct {
  const char* name;
  NativeFunction run;
  int count;
} Native;

/* The functions of the native modules, with their numbers of arguments; ends with a null name. */
extern const Native NATIVES[];
extern void fxInitializeSharedCluster();
extern void fxTerminateSharedCluster();

static xsSlot gHandle, gDrain;
static uint32_t gCodeBytes;

static void js_print(xsMachine* the) {
  fputs(xsmcToString(xsArg(0)), stdout);
  fputc('\n', stdout);
  fflush(stdout);
}

/* Monotonic milliseconds with a fraction. */
static void js_now(xsMachine* the) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  xsmcSetNumber(xsResult, (double)now.tv_sec * 1000.0 + (double)now.tv_nsec / 1e6);
}

static void js_collect(xsMachine* the) {
  xsCollectGarbage();
}

static void js_fit(xsMachine* the) {
  memory_fit(the);
}

static void js_forget(xsMachine* the) {
  memory_forget(the);
}

static void js_steps(xsMachine* the) {
  xsmcSetNumber(xsResult, engine_steps(the));
}

static int format_figures(xsMachine* the, char* text, size_t size) {
  MemoryFigures now;
  memory_figures(the, &now);
  return snprintf(text, size,
    "{\"chunkUsed\":%u,\"chunkPeak\":%u,\"chunkReserved\":%u,\"slotUsed\":%u,\"slotPeak\":%u,\"slotReserved\":%u,"
    "\"slotBytes\":%u,\"codeBytes\":%u,\"steps\":%u,\"cpuMs\":%ld}",
    now.chunkUsed, now.chunkPeak, now.chunkReserved, now.slotUsed, now.slotPeak, now.slotReserved, now.slotBytes,
    gCodeBytes, engine_steps(the), (long)(clock() / (CLOCKS_PER_SEC / 1000)));
}

/* The figures as JSON; the text itself takes memory only afterwards. */
static void js_memory(xsMachine* the) {
  char text[512];
  format_figures(the, text, sizeof(text));
  xsmcSetString(xsResult, text);
}

/* native(name): the function of a native module, or undefined. */
static void js_native(xsMachine* the) {
  const char* name = xsmcToString(xsArg(0));
  for (const Native* native = NATIVES; native->name; native++) {
    if (strcmp(name, native->name) != 0) continue;
    xsResult = xsNewHostFunction(native->run, native->count);
    return;
  }
}

/* A function of its own, so that callgrind can count what runs inside of it (--toggle-collect=shell_counted). */
__attribute__((noinline)) void shell_counted(xsMachine* the, xsSlot* function) {
  xsCallFunction0(*function, xsUndefined);
}

static void js_counted(xsMachine* the) {
  shell_counted(the, &xsArg(0));
}

static void write_all(const void* data, size_t size) {
  const char* at = data;
  while (size > 0) {
    ssize_t count = write(4, at, size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) _exit(1);
    at += count;
    size -= (size_t)count;
  }
}

static int read_all(void* data, size_t size) {
  char* at = data;
  while (size > 0) {
    ssize_t count = read(3, at, size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return 0;
    at += count;
    size -= (size_t)count;
  }
  return 1;
}

/* A frame out: length of the rest (4 bytes), length of the text (2 bytes), text, bytes. */
static void send_frame(const char* text, const void* data, uint32_t size) {
  uint16_t length = (uint16_t)strlen(text);
  uint32_t total = 2 + length + size;
  write_all(&total, 4);
  write_all(&length, 2);
  write_all(text, length);
  write_all(data, size);
}

/* send(text, buf, start, end): one frame to the world outside; the bytes may be left out. */
static void js_send(xsMachine* the) {
  void* data = NULL;
  xsUnsignedValue size;
  uint32_t start = 0, end = 0;
  if (xsmcArgc > 1) {
    xsmcGetBufferReadable(xsArg(1), &data, &size);
    start = (uint32_t)xsmcToInteger(xsArg(2));
    end = (uint32_t)xsmcToInteger(xsArg(3));
    if (start > end || end > size) xsRangeError("outside of the buffer");
  }
  send_frame(xsmcToString(xsArg(0)), (uint8_t*)data + start, end - start);
}

/* serve(handle, drain): `handle` is called with each frame; `drain` runs deferred work and says whether there was any. */
static void js_serve(xsMachine* the) {
  gHandle = xsArg(0);
  gDrain = xsArg(1);
  xsRemember(gHandle);
  xsRemember(gDrain);
}

static void settle(xsMachine* the) {
  int hasMore = 1;
  while (hasMore) {
    hasMore = 0;
    while (run_promise_jobs(the)) hasMore = 1;
    xsBeginHost(the);
    if (xsmcTypeOf(gDrain) == xsReferenceType) {
      xsResult = xsCallFunction0(gDrain, xsUndefined);
      if (xsmcTest(xsResult)) hasMore = 1;
    }
    xsEndHost(the);
  }
  check_rejections(the);
}

__attribute__((noinline)) void shell_handle(xsMachine* the, const void* data, uint32_t size) {
  xsBeginHost(the);
  {
    xsmcVars(1);
    xsmcSetArrayBuffer(xsVar(0), (void*)data, (xsIntegerValue)size);
    xsCallFunction1(gHandle, xsUndefined, xsVar(0));
  }
  xsEndHost(the);
  settle(the);
}

/* As shell_handle, for callgrind. */
__attribute__((noinline)) void shell_handle_counted(xsMachine* the, const void* data, uint32_t size) {
  shell_handle(the, data, size);
}

static struct {
  uint8_t* data;
  size_t used, room;
} gDump;

static void add_to_dump(const void* data, size_t size) {
  if (gDump.used + size > gDump.room) {
    gDump.room = 2 * (gDump.used + size);
    gDump.data = realloc(gDump.data, gDump.room);
    if (!gDump.data) _exit(1);
  }
  memcpy(gDump.data + gDump.used, data, size);
  gDump.used += size;
}

static void send_dump(xsMachine* the) {
  char text[32];
  uint32_t root = (uint32_t)(uintptr_t)gHandle.data[2];
  xsBeginHost(the);
  xsCollectGarbage();
  xsEndHost(the);
  gDump.used = 0;
  memory_dump(the, add_to_dump);
  snprintf(text, sizeof(text), "%u %u", root, memory_free_slot(the));
  send_frame(text, gDump.data, (uint32_t)gDump.used);
}

/*
 * Frames in: length (4 bytes, little-endian), kind, content. Kind 0: for the script. 1: for the script, counted.
 * 2: collect. 3: fit. 4: forget the peaks. Every frame is answered by the frames that the script sends and then by an
 * empty one; kinds 2 to 5 answer with the figures first (5 does nothing else). 6: collect, and answer with both heaps
 * (memory_dump), whose text are the addresses of the script's function that takes frames and of the first free slot.
 */
static void serve(xsMachine* the) {
  uint32_t size;
  while (read_all(&size, 4)) {
    uint8_t* frame = malloc(size);
    if (size == 0 || !frame || !read_all(frame, size)) _exit(1);
    switch (frame[0]) {
      case 0: shell_handle(the, frame + 1, size - 1); break;
      case 1: shell_handle_counted(the, frame + 1, size - 1); break;
      case 6: send_dump(the); break;
      default: {
        char text[512];
        xsBeginHost(the);
        if (frame[0] == 2) xsCollectGarbage();
        if (frame[0] == 3) memory_fit(the);
        if (frame[0] == 4) memory_forget(the);
        xsEndHost(the);
        format_figures(the, text, sizeof(text));
        send_frame(text, NULL, 0);
      }
    }
    free(frame);
    write_all(&(uint32_t){0}, 4);
  }
}

static void build_shell(xsMachine* the) {
  static const Native FUNCTIONS[] = {{"print", js_print, 1}, {"now", js_now, 0}, {"collect", js_collect, 0},
    {"fit", js_fit, 0}, {"forget", js_forget, 0}, {"steps", js_steps, 0}, {"memory", js_memory, 0},
    {"native", js_native, 1}, {"counted", js_counted, 1}, {"send", js_send, 4}, {"serve", js_serve, 2}};
  xsBeginHost(the);
  {
    xsmcVars(2);
    xsmcSetNewObject(xsVar(0));
    for (size_t i = 0; i < sizeof(FUNCTIONS) / sizeof(FUNCTIONS[0]); i++) {
      xsVar(1) = xsNewHostFunction(FUNCTIONS[i].run, FUNCTIONS[i].count);
      xsmcSet(xsVar(0), xsID(FUNCTIONS[i].name), xsVar(1));
    }
    xsmcSet(xsGlobal, xsID("__shell"), xsVar(0));
  }
  xsEndHost(the);
}

static int run_file(xsMachine* the, const char* path) {
  int isFine = 1;
  xsBeginHost(the);
  {
    xsTry {
      gCodeBytes += run_script_file(the, path);
    }
    xsCatch {
      isFine = 0;
      fprintf(stderr, "%s: %s\n", path, xsmcToString(xsException));
    }
  }
  xsEndHost(the);
  if (isFine) settle(the);
  return isFine;
}

static int read_pair(const char* text, xsIntegerValue* first, xsIntegerValue* second) {
  return text && sscanf(text, "%d,%d", first, second) == (second ? 2 : 1);
}

static int read_option(xsCreation* creation, const char* name, const char* value) {
  if (strcmp(name, "--chunks") == 0)
    return read_pair(value, &creation->initialChunkSize, &creation->incrementalChunkSize);
  if (strcmp(name, "--slots") == 0)
    return read_pair(value, &creation->initialHeapCount, &creation->incrementalHeapCount);
  if (strcmp(name, "--keys") == 0)
    return read_pair(value, &creation->initialKeyCount, &creation->incrementalKeyCount);
  return strcmp(name, "--stack") == 0 && value && (creation->stackCount = atoi(value)) > 0;
}

int main(int argc, char** argv) {
  xsCreation creation = {
    .initialChunkSize = 16 << 20,
    .incrementalChunkSize = 4 << 20,
    .initialHeapCount = 256 << 10,
    .incrementalHeapCount = 64 << 10,
    .stackCount = 4096,
    .initialKeyCount = 16000,
    .incrementalKeyCount = 1000,
    .nameModulo = 1993,
    .symbolModulo = 127,
    .parserBufferSize = 8 << 20,
    .parserTableModulo = 1993,
  };
  int serves = 0, isFine = 1, at = 1;
  char text[512];
  for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
    if (strcmp(argv[at], "--serve") == 0) serves = 1;
    else if (!read_option(&creation, argv[at], argv[at + 1])) {
      fprintf(stderr, "shell: wrong option %s\n", argv[at]);
      return 2;
    } else at++;
  }
  if (at >= argc) {
    fprintf(stderr, "usage: shell [--chunks I,I] [--slots I,I] [--stack N] [--keys I,I] [--serve] FILE...\n");
    return 2;
  }
  fxInitializeSharedCluster();
  xsMachine* the = xsCreateMachine(&creation, "motenet", NULL);
  if (!the) return 1;
  build_shell(the);
  for (; at < argc && isFine; at++) isFine = run_file(the, argv[at]);
  if (isFine && serves) serve(the);
  format_figures(the, text, sizeof(text));
  printf("memory %s\n", text);
  fflush(stdout);
  return isFine ? 0 : 1;
}
