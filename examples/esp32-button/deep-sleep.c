/*
 * Deep sleep that a pin ends: ext1 on an ESP32 and S3 (RTC pins), GPIO wake-up on a C3 (pins 0 to 5). The pin is pulled
 * to the other level, so that a plain button to ground or to 3.3 V is enough. On other platforms nothing sleeps.
 */
#include "xsmc.h"
#include "mc.xs.h"

#if defined(ESP32) && ESP32
#include "driver/gpio.h"
#include "esp_sleep.h"
#include "soc/soc_caps.h"
#if SOC_PM_SUPPORT_EXT1_WAKEUP
#include "driver/rtc_io.h"
#endif

static int enable(int pin, int level) {
#if SOC_GPIO_SUPPORT_DEEPSLEEP_WAKEUP
  gpio_set_direction(pin, GPIO_MODE_INPUT);
  gpio_set_pull_mode(pin, level ? GPIO_PULLDOWN_ONLY : GPIO_PULLUP_ONLY);
  return ESP_OK == esp_deep_sleep_enable_gpio_wakeup(1ULL << pin, level ? ESP_GPIO_WAKEUP_GPIO_HIGH : ESP_GPIO_WAKEUP_GPIO_LOW);
#elif SOC_PM_SUPPORT_EXT1_WAKEUP
  if (!rtc_gpio_is_valid_gpio(pin)) return 0;
  rtc_gpio_init(pin);
  rtc_gpio_set_direction(pin, RTC_GPIO_MODE_INPUT_ONLY);
  if (level) rtc_gpio_pulldown_en(pin);
  else rtc_gpio_pullup_en(pin);
  /* The pull-ups work in deep sleep only while their power domain is on. */
  esp_sleep_pd_config(ESP_PD_DOMAIN_RTC_PERIPH, ESP_PD_OPTION_ON);
  return ESP_OK == esp_sleep_enable_ext1_wakeup(1ULL << pin, level ? ESP_EXT1_WAKEUP_ANY_HIGH : ESP_EXT1_WAKEUP_ALL_LOW);
#else
  return 0;
#endif
}

void xs_deep_sleep_until_pin(xsMachine *the) {
  if (!enable(xsmcToInteger(xsArg(0)), xsmcToInteger(xsArg(1)))) xsRangeError("this pin cannot wake the chip");
  esp_deep_sleep_start();
}

void xs_deep_sleep_woke_by_pin(xsMachine *the) {
  esp_sleep_wakeup_cause_t cause = esp_sleep_get_wakeup_cause();
  xsmcSetBoolean(xsResult, cause == ESP_SLEEP_WAKEUP_EXT1 || cause == ESP_SLEEP_WAKEUP_GPIO);
}
#else
void xs_deep_sleep_until_pin(xsMachine *the) {}

void xs_deep_sleep_woke_by_pin(xsMachine *the) {
  xsmcSetBoolean(xsResult, 0);
}
#endif
