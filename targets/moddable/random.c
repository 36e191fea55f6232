/*
 * Fills a buffer with random bytes: esp_fill_random on an ESP32 (a true generator while the radio is on, ESP-IDF API
 * "Random Number Generation"), getrandom on Linux. Any other platform must not build: there is no fallback.
 */
#include "xsmc.h"
#include "mc.xs.h"

#if defined(ESP32) && ESP32
#include "esp_random.h"

static int fill(uint8_t *bytes, size_t length) {
  esp_fill_random(bytes, length);
  return 1;
}
#elif defined(__linux__)
#include <errno.h>
#include <sys/random.h>

static int fill(uint8_t *bytes, size_t length) {
  while (length > 0) {
    ssize_t got = getrandom(bytes, length, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return 0;
    bytes += got;
    length -= (size_t)got;
  }
  return 1;
}
#else
#error "motenet has no random generator for this platform"
#endif

void xs_motenet_random(xsMachine *the) {
  void *bytes;
  xsUnsignedValue length;

  xsmcGetBufferWritable(xsArg(0), &bytes, &length);
  if (!fill((uint8_t *)bytes, (size_t)length)) xsUnknownError("the random generator failed");
}
