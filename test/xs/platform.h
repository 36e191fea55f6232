/*
 * What the XS engine wants to know of its platform (it includes this file by -DXSPLATFORM): Linux, 32 or 64 bit, one
 * machine, no debugger. A slot has 16 bytes in a 32-bit build, as on an ESP32, and 32 bytes in a 64-bit one.
 */
#ifndef MOTENET_XS_PLATFORM_H
#define MOTENET_XS_PLATFORM_H

#include <arpa/inet.h>
#include <ctype.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#undef mxLittleEndian
#define mxLittleEndian 1
#undef mxLinux
#define mxLinux 1
#define mxExport extern
#define mxImport extern
#define XS_FUNCTION_NORETURN __attribute__((noreturn))

#define mxUseGCCAtomics 1
#define mxUsePOSIXThreads 1
#define mxUseDefaultBuildKeys 1
#define mxUseDefaultParseScript 1
#define mxUseDefaultSharedChunks 1

/* Fields of ours in the machine; the waiters are the engine's. */
#define mxMachinePlatform \
  int hasPromiseJobs; \
  void* waiterCondition; \
  void* waiterData; \
  void* waiterLink;

#if INTPTR_MAX == INT64_MAX
#define mx32bitID 1
#endif
#define mxCESU8 1

#endif
