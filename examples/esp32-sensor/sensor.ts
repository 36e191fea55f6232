/**
 * The application: a reading, served over HTTP and published to an MQTT broker, both inside the tailnet. It knows ECMA-419
 * classes only, so `main.ts` runs it on a board and `sensor-node.ts` under Node.
 */
import { serveHttp } from './http.ts';
import { MqttPublisher } from './mqtt.ts';
import type { Io, Timers } from './standard.ts';

/** What {@link startSensor} takes. */
export interface SensorOptions {
  /** The io classes of the tailnet. */
  readonly io: Io;
  readonly timers: Timers;
  /** Degrees Celsius. */
  read(): number;
  /** What this device is called: the topic is `sensors/<name>/celsius`. */
  readonly name: string;
  /** The broker's name in the tailnet. */
  readonly broker: string;
  readonly brokerPort?: number;
  readonly port?: number;
  readonly intervalMs: number;
  log(text: string): void;
}

/** Starts it; the returned function ends it. */
export function startSensor(options: SensorOptions): () => void {
  const { io, timers, name, broker, brokerPort, port = 80, intervalMs, log } = options;
  const topic = `sensors/${name}/celsius`;
  const reading = () => options.read().toFixed(1);
  const endServing = serveHttp(io, timers, port, path =>
    path === '/'
      ? { status: 200, type: 'application/json', body: `{"name":"${name}","celsius":${reading()}}\n` }
      : { status: 404, type: 'text/plain', body: 'there is only /\n' },
  );
  const publisher = new MqttPublisher({
    io,
    timers,
    host: broker,
    ...(brokerPort === undefined ? {} : { port: brokerPort }),
    id: name,
    log,
  });
  let timer: unknown;
  const tick = () => {
    timer = timers.set(tick, intervalMs);
    if (!publisher.isConnected) return;
    const value = reading();
    log(publisher.publish(topic, value) ? `${topic} ${value}` : `${topic} was not sent`);
  };
  timer = timers.set(tick, intervalMs);
  return () => {
    timers.clear(timer);
    publisher.close();
    endServing();
  };
}
