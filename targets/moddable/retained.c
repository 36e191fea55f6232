/*
 * Memory that keeps its content while the chip sleeps deeply and loses it with the power: RTC memory of an ESP32, S3 or C3
 * (ESP-IDF "Deep-sleep", RTC_NOINIT_ATTR). Elsewhere plain memory, which lasts as long as the process.
 *
 * What is in it after power comes is chance: retained-store.ts knows its own content by a checksum.
 */
#include <string.h>

#include "xsmc.h"
#include "mc.xs.h"

#if defined(ESP32) && ESP32
#include "esp_attr.h"
#else
#define RTC_NOINIT_ATTR
#endif

#define MOTENET_RETAINED_BYTES 2048

RTC_NOINIT_ATTR static uint8_t retained[MOTENET_RETAINED_BYTES];

/* Copies the memory into a buffer, as much as fits. */
void xs_motenet_retained_read(xsMachine *the) {
  void *bytes;
  xsUnsignedValue length;

  xsmcGetBufferWritable(xsArg(0), &bytes, &length);
  memcpy(bytes, retained, length < sizeof retained ? length : sizeof retained);
}

/* Replaces the beginning of the memory by a buffer. */
void xs_motenet_retained_write(xsMachine *the) {
  void *bytes;
  xsUnsignedValue length;

  xsmcGetBufferReadable(xsArg(0), &bytes, &length);
  if (length > sizeof retained) xsRangeError("more than the retained memory");
  memcpy(retained, bytes, length);
}
