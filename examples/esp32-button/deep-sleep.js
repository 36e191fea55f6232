/** Deep sleep of an ESP32, and why it woke. The functions are in deep-sleep.c. */
export const sleepUntilPin = native('xs_deep_sleep_until_pin');
export const wokeByPin = native('xs_deep_sleep_woke_by_pin');
