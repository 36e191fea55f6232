/**
 * The same application under Node, as a member of the same tailnet:
 * `MOTENET_AUTHKEY=… npx tsx examples/esp32-sensor/sensor-node.ts https://net.example.com broker`
 */
import { argv, env, exit } from 'node:process';
import { fileStore, up } from '../../targets/node/index.ts';
import { createTunnel } from '../../targets/moddable/tunnel.ts';
import { startSensor } from './sensor.ts';
import type { Io, Timers } from './standard.ts';

/** Node's timers in the shape of Moddable's. */
export const timers: Timers = {
  set: (run, ms) => setTimeout(run, ms),
  clear: timer => clearTimeout(timer as NodeJS.Timeout),
};

if (argv[1]?.endsWith('sensor-node.ts')) {
  const [control, broker = 'broker'] = argv.slice(2);
  if (control === undefined) {
    console.error('expected the URL of a coordinator, and the name of a broker');
    exit(2);
  }
  const authKey = env['MOTENET_AUTHKEY'];
  const mote = await up({
    control,
    name: 'sensor',
    store: fileStore('./sensor-state'),
    ...(authKey === undefined ? {} : { authKey }),
    onEvent: event => event.type === 'auth-url' && console.log(`log this device in: ${event.url}`),
  });
  startSensor({
    io: createTunnel(mote) as unknown as Io,
    timers,
    read: () => performance.now() / 1000,
    name: 'sensor',
    broker,
    intervalMs: 60_000,
    log: console.log,
  });
}
