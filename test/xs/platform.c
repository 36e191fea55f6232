/*
 * The side of the shell that knows the engine's insides: what XS demands of a platform (memory, abort, promise jobs,
 * no modules from files) and what it can be asked about its heaps.
 *
 * The chunk heap is one stretch of reserved addresses that grows at its end; the slot heap grows by pieces.
 */
#include "xsAll.h"
#include "xsScript.h"
#include "memory.h"
#include <sys/mman.h>

#define RESERVED_BYTES (512u << 20)
/* By how much the heaps of a board grow at a time (the defaults of Moddable's creation record). */
#define FIT_SLOTS 64
#define FIT_CHUNK_BYTES 1024

static txSlot gBallast;

void fxCreateMachinePlatform(txMachine* the) {
  the->hasPromiseJobs = 0;
}

void fxDeleteMachinePlatform(txMachine* the) {
  (void)the;
}

void* fxAllocateChunks(txMachine* the, txSize size) {
  txByte* end = the->firstBlock ? the->firstBlock->limit : C_NULL;
  txByte* base = (txByte*)the->firstBlock;
  if (!base) {
    base = mmap(NULL, RESERVED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return C_NULL;
    end = base;
  }
  return (size_t)(end - base) + (size_t)size > RESERVED_BYTES ? C_NULL : end;
}

void fxFreeChunks(txMachine* the, void* chunks) {
  (void)the;
  munmap(chunks, RESERVED_BYTES);
}

txSlot* fxAllocateSlots(txMachine* the, txSize count) {
  (void)the;
  return malloc((size_t)count * sizeof(txSlot));
}

void fxFreeSlots(txMachine* the, void* slots) {
  (void)the;
  free(slots);
}

/* Every reason to abort ends the process: a test that goes on after one would prove nothing. */
void fxAbort(txMachine* the, int status) {
  const char* reason = status == XS_NOT_ENOUGH_MEMORY_EXIT ? "memory full"
    : status == XS_STACK_OVERFLOW_EXIT                     ? "stack overflow"
    : status == XS_NO_MORE_KEYS_EXIT                       ? "not enough keys"
    : status == XS_UNHANDLED_EXCEPTION_EXIT                ? "unhandled exception"
    : status == XS_UNHANDLED_REJECTION_EXIT                ? "unhandled rejection"
                                                           : "abort";
  fflush(stdout);
  fprintf(stderr, "engine: %s (%d)", reason, status);
  if (status == XS_UNHANDLED_EXCEPTION_EXIT || status == XS_UNHANDLED_REJECTION_EXIT) {
    mxTry(the) {
      fprintf(stderr, ": %s", fxToString(the, &mxException));
    }
    mxCatch(the) {
    }
  }
  fputc('\n', stderr);
  _exit(100 + status);
}

void fxQueuePromiseJobs(txMachine* the) {
  the->hasPromiseJobs = 1;
}

int run_promise_jobs(txMachine* the) {
  if (!the->hasPromiseJobs) return 0;
  the->hasPromiseJobs = 0;
  fxRunPromiseJobs(the);
  return 1;
}

void check_rejections(txMachine* the) {
  fxCheckUnhandledRejections(the, 1);
}

txID fxFindModule(txMachine* the, txSlot* realm, txID moduleID, txSlot* slot) {
  (void)the, (void)realm, (void)moduleID, (void)slot;
  return XS_NO_ID; /* bundles import nothing */
}

void fxLoadModule(txMachine* the, txSlot* module, txID moduleID) {
  (void)the, (void)module, (void)moduleID;
}

/* The engine asks for these only where a host keeps an archive or a profile. */
void fxRunDebugger(txMachine* the) {
  (void)the;
}

uint32_t run_script_file(txMachine* the, const char* path) {
  txSlot* realm = mxProgram.value.reference->next->value.module.realm;
  FILE* file = fopen(path, "r");
  txScript* script;
  uint32_t size = 0;
  if (!file) mxURIError("cannot open %s", (char*)path);
  script = fxParseScript(the, file, (txGetter)fgetc, mxProgramFlag);
  fclose(file);
  if (script) size = (uint32_t)script->codeSize;
  fxRunScript(the, script, mxRealmGlobal(realm), C_NULL, mxRealmClosures(realm)->value.reference, C_NULL,
    mxProgram.value.reference);
  mxPop();
  return size;
}

void memory_figures(txMachine* the, MemoryFigures* out) {
  out->chunkUsed = (uint32_t)the->currentChunksSize;
  out->chunkPeak = (uint32_t)the->peakChunksSize;
  out->chunkReserved = (uint32_t)the->maximumChunksSize;
  out->slotUsed = (uint32_t)(the->currentHeapCount * sizeof(txSlot));
  out->slotPeak = (uint32_t)(the->peakHeapCount * sizeof(txSlot));
  out->slotReserved = (uint32_t)(the->maximumHeapCount * sizeof(txSlot));
  out->slotBytes = (uint32_t)sizeof(txSlot);
}

void memory_forget(txMachine* the) {
  the->peakChunksSize = the->currentChunksSize;
  the->peakHeapCount = the->currentHeapCount;
}

/* Takes free slots into a chain that is kept for good, all but `spare`. */
static void take_free_slots(txMachine* the, txSize spare) {
  txSize count = 0;
  txSlot* slot;
  for (slot = the->freeHeap; slot; slot = slot->next) count++;
  if (count <= spare + 1) return;
  txSlot* last = fxNewInstance(the);
  gBallast.kind = XS_REFERENCE_KIND;
  gBallast.value.reference = the->stack->value.reference;
  for (count -= spare + 1; count > 0; count--) {
    last->next = fxNewSlot(the);
    last = last->next;
    last->flag = XS_INTERNAL_FLAG | XS_DONT_ENUM_FLAG;
  }
  mxPop();
}

void memory_fit(txMachine* the) {
  the->minimumHeapCount = FIT_SLOTS;
  the->minimumChunksSize = FIT_CHUNK_BYTES;
  if (gBallast.kind == XS_REFERENCE_KIND) fxForget(the, &gBallast);
  gBallast.kind = XS_UNDEFINED_KIND;
  fxCollect(the, XS_COMPACT_FLAG);
  take_free_slots(the, FIT_SLOTS);
  if (gBallast.kind == XS_REFERENCE_KIND) fxRemember(the, &gBallast);
  fxCollect(the, XS_COMPACT_FLAG);
  txBlock* block = the->firstBlock;
  if (block && block->limit - block->current > FIT_CHUNK_BYTES) {
    txByte* limit = block->current + FIT_CHUNK_BYTES;
    the->maximumChunksSize -= (txSize)(block->limit - limit);
    block->limit = limit;
  }
  memory_forget(the);
}

uint32_t engine_steps(txMachine* the) {
  return the->meterIndex;
}

static void put_area(void (*put)(const void*, size_t), const void* start, const void* end) {
  uint32_t head[2] = {(uint32_t)(uintptr_t)start, (uint32_t)((const txByte*)end - (const txByte*)start)};
  put(head, sizeof(head));
  put(start, head[1]);
}

void memory_dump(txMachine* the, void (*put)(const void* data, size_t size)) {
  for (txSlot* heap = the->firstHeap; heap; heap = heap->next) put_area(put, heap, heap->value.reference);
  put_area(put, NULL, NULL);
  for (txBlock* block = the->firstBlock; block; block = block->nextBlock) put_area(put, block, block->current);
  put_area(put, NULL, NULL);
  for (txID id = 0; id < the->keyIndex; id++) {
    const char* name = fxGetKeyName(the, id);
    uint32_t length = name ? (uint32_t)strlen(name) : 0;
    put(&length, sizeof(length));
    put(name, length);
  }
}

uint32_t memory_free_slot(txMachine* the) {
  return (uint32_t)(uintptr_t)the->freeHeap;
}
