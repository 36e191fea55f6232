/** Deep sleep of an ESP32 (deep-sleep.c): the memory is lost, the program starts anew when it wakes. */

/** Sleeps until the pin is at `level` (0 or 1). Does not return on a board. Throws where the pin cannot wake it. */
export const sleepUntilPin: (pin: number, level: number) => void;
/** Whether this start is a wake by the pin, and not power that came or a reset. */
export const wokeByPin: () => boolean;
