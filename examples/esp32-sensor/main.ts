/**
 * The sensor on a board. What it has to know is in its storage (see provision.ts): nothing of it is in the image.
 *
 * The reading is the uptime in seconds, so that the example runs on a bare board; put your sensor's driver into `read`.
 */
import Preference from 'preference';
import Time from 'time';
import Timer from 'timer';
import { configOptions, createTunnel, forgetAuthKey, readDeviceConfig, up } from 'motenet';
import { startSensor } from './sensor.ts';
import type { Io } from './standard.ts';
import { connectWiFi } from './wifi.ts';

async function run(): Promise<void> {
  const config = readDeviceConfig(Preference);
  await connectWiFi(config.ssid, config.password);
  const mote = await up({
    ...configOptions(config),
    onEvent: event => {
      if (event.type === 'auth-url') trace(`log this device in: ${event.url}\n`);
      if (event.type === 'error') trace(`motenet: ${event.message}\n`);
    },
  });
  forgetAuthKey(Preference);
  trace(`inside: ${mote.addresses.join(' ')}\n`);
  startSensor({
    io: createTunnel(mote) as unknown as Io,
    timers: { set: (once, ms) => Timer.set(once, ms), clear: timer => Timer.clear(timer as Timer) },
    read: () => Time.ticks / 1000,
    name: config.name ?? 'sensor',
    broker: 'broker',
    intervalMs: 60_000,
    log: line => trace(`${line}\n`),
  });
}

run().catch(error => trace(`stopped: ${error instanceof Error ? error.message : String(error)}\n`));
