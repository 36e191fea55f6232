/**
 * The application: a press is told to one device of the tailnet, by HTTP. `main.ts` runs it on a board that sleeps in
 * between, a test under Node.
 */
import { postHttp } from '../esp32-sensor/http.ts';
import type { Io, Timers } from '../esp32-sensor/standard.ts';

/** Where presses go, and the classes to get there by. */
export interface PressOptions {
  readonly io: Io;
  readonly timers: Timers;
  /** The name of the device in the tailnet, and its port. */
  readonly host: string;
  readonly port: number;
  readonly name: string;
  /** How often the button was pressed so far. */
  readonly count: number;
  readonly attempts: number;
  log(text: string): void;
}

/** Sends one press; true when it was taken (a status of 200 to 299). Tries again at once, `attempts` times in all. */
export async function sendPress(options: PressOptions): Promise<boolean> {
  const { io, timers, host, port, name, count, attempts, log } = options;
  const body = `{"name":"${name}","count":${count}}`;
  for (let attempt = 1; attempt <= attempts; attempt++) {
    try {
      const status = await postHttp(io, timers, host, port, '/press', body);
      log(`press ${count}: ${host} answered ${status}`);
      if (status >= 200 && status < 300) return true;
    } catch (error) {
      log(`press ${count}: ${(error as Error).message}`);
    }
  }
  return false;
}
