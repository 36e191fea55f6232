/* Between the engine's side of the shell (platform.c, which knows its insides) and the shell proper (shell.c). */
#ifndef MOTENET_XS_MEMORY_H
#define MOTENET_XS_MEMORY_H

#include <stdint.h>

/* One machine under its two names: included after xsAll.h or after xsmc.h. */
#ifdef __XSALL__
typedef txMachine Machine;
#else
typedef xsMachine Machine;
#endif

/* All in bytes: used now, most that was used since memory_fit (garbage included), taken from the system now. */
typedef struct {
  uint32_t chunkUsed, chunkPeak, chunkReserved;
  uint32_t slotUsed, slotPeak, slotReserved;
  uint32_t slotBytes;
} MemoryFigures;

void memory_figures(Machine* the, MemoryFigures* out);
/* Collects and gives the free part of both heaps away: from now on they grow as on a board, by small increments. */
void memory_fit(Machine* the);
/* Forgets the peaks. */
void memory_forget(Machine* the);
/*
 * Both heaps and the names of keys as they lie there, for heap.ts: areas of slots (address, length, bytes) and one of
 * length 0, areas of chunks likewise, then names (length, bytes) from key 0 on. Numbers have 4 bytes; of a 32-bit engine only.
 */
void memory_dump(Machine* the, void (*put)(const void* data, size_t size));
/* Address of the first free slot, to which the others are chained. */
uint32_t memory_free_slot(Machine* the);
/* Steps of the engine so far, modulo 2^32. */
uint32_t engine_steps(Machine* the);

/* Parses and runs a file as a script; an exception is the caller's. Returns the size of its bytecode. */
uint32_t run_script_file(Machine* the, const char* path);
/* Runs the promise jobs that wait; 0 when there were none. */
int run_promise_jobs(Machine* the);
void check_rejections(Machine* the);

#endif
