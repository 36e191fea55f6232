/**
 * The button on a board: wakes by its pin, sends, sleeps. Power that comes for the first time makes it join, then sleep.
 *
 * What lets it send so soon after waking is in its storage (`resume`): its keys, what it knew of the tailnet, and the floor
 * of its handshake clock, so that neither coordinator nor time server is asked first. The coordinator is asked once a day.
 */
import Preference from 'preference';
import Time from 'time';
import Timer from 'timer';
import { configOptions, createTunnel, forgetAuthKey, readDeviceConfig, up } from 'motenet';
import type { Io } from '../esp32-sensor/standard.ts';
import { connectWiFi } from '../esp32-sensor/wifi.ts';
import { sendPress } from './button.ts';
import { sleepUntilPin, wokeByPin } from './deep-sleep.js';

/** The button is between this pin and ground. GPIO 0 is BOOT on an ESP32 and S3; on a C3 take one of 0 to 5. */
const PIN = 0;
const PRESSED = 0;
/** Whoever collects presses, in the tailnet. */
const COLLECTOR = 'collector';
/** However badly it goes, it sleeps again: a flat battery sends nothing. */
const MAX_AWAKE_MS = 30_000;

async function run(): Promise<void> {
  const config = readDeviceConfig(Preference);
  await connectWiFi(config.ssid, config.password);
  const mote = await up({ ...configOptions(config), resume: true, timeServers: [] });
  forgetAuthKey(Preference);
  trace(`inside after ${Time.ticks} ms\n`);
  if (wokeByPin()) {
    const before = Preference.get('button', 'count');
    const count = (typeof before === 'number' ? before : 0) + 1;
    Preference.set('button', 'count', count);
    await sendPress({
      io: createTunnel(mote) as unknown as Io,
      timers: { set: (once, ms) => Timer.set(once, ms), clear: timer => Timer.clear(timer as Timer) },
      host: COLLECTOR,
      port: 80,
      name: config.name ?? 'button',
      count,
      attempts: 2,
      log: line => trace(`${line}\n`),
    });
  }
  await mote.close();
}

function sleep(): void {
  trace(`sleeping after ${Time.ticks} ms\n`);
  sleepUntilPin(PIN, PRESSED);
}

Timer.set(sleep, MAX_AWAKE_MS);
run()
  .catch(error => trace(`stopped: ${error instanceof Error ? error.message : String(error)}\n`))
  .then(sleep);
