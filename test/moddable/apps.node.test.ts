/** The same applications under Node, over real sockets: the sensor with a real MQTT broker and a real HTTP client. */
import http from 'node:http';
import { Aedes } from 'aedes';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { sendPress } from '../../examples/esp32-button/button.ts';
import { provisioningCsv } from '../../examples/esp32-sensor/provision.ts';
import { startSensor } from '../../examples/esp32-sensor/sensor.ts';
import { timers } from '../../examples/esp32-sensor/sensor-node.ts';
import type { Io } from '../../examples/esp32-sensor/standard.ts';
import { createTunnel } from '../../targets/moddable/tunnel.ts';
import { createAgent } from '../../targets/node/agent.ts';
import { attachServer, createServer } from '../../targets/node/server.ts';
import { eventually } from '../contract/wait.ts';
import { NEAR, pair } from '../targets/node-packages-support.ts';

const test = suite('apps under Node');

test('a sensor publishes to aedes and answers node:http, all inside the tunnel', async () => {
  const { near, far, close } = await pair();
  const broker = await Aedes.createBroker();
  const published: string[] = [];
  broker.on('publish', ({ topic, payload }) => {
    if (topic.startsWith('sensors/')) published.push(`${topic} ${payload}`);
  });
  const server = createServer(far, {}, socket => broker.handle(socket));
  await new Promise<void>(resolve => server.listen(1883, () => resolve()));
  const log: string[] = [];
  const end = startSensor({
    io: createTunnel(near) as unknown as Io,
    timers,
    read: () => 21.25,
    name: 'sensor-1',
    broker: 'web.test',
    intervalMs: 50,
    log: line => log.push(line),
  });
  await eventually(() => published.length >= 2);
  assert.is(published[0], 'sensors/sensor-1/celsius 21.3');
  assert.is(log[0], 'mqtt: connected to web.test');
  const answer = await new Promise<string>((resolve, reject) => {
    const request = http.get({ host: NEAR, agent: createAgent(far) }, response => {
      let body = '';
      response.on('data', chunk => (body += chunk));
      response.on('end', () => resolve(`${response.statusCode} ${response.headers['content-type']} ${body}`));
    });
    request.on('error', reject);
  });
  assert.is(answer, '200 application/json {"name":"sensor-1","celsius":21.3}\n');
  end();
  broker.close();
  server.close();
  await close();
});

test('a press arrives at a node:http server', async () => {
  const { near, far, close } = await pair();
  const got: string[] = [];
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', chunk => (body += chunk));
    request.on('end', () => {
      got.push(`${request.method} ${request.url} ${body}`);
      response.writeHead(201).end();
    });
  });
  const attached = await attachServer(far, server, 80);
  const isTaken = await sendPress({
    io: createTunnel(near) as unknown as Io,
    timers,
    host: 'web.test',
    port: 80,
    name: 'button-1',
    count: 3,
    attempts: 1,
    log: () => undefined,
  });
  assert.is(isTaken, true);
  assert.equal(got, ['POST /press {"name":"button-1","count":3}']);
  attached.close();
  server.close();
  await close();
});

test('what provisioning writes is what NVS takes, and a mistake is said before anything is written', () => {
  const pin = `sha256//${'A'.repeat(43)}=`;
  const values = {
    ssid: 'He said "Home"',
    control: 'https://net.test',
    pin,
    password: 'p,w',
    'auth-key': 'mote-auth-1',
  };
  assert.equal(provisioningCsv(values).split('\n'), [
    'key,type,encoding,value',
    'device,namespace,,',
    'ssid,data,string,"He said ""Home"""',
    'password,data,string,"p,w"',
    'control,data,string,"https://net.test"',
    'auth-key,data,string,"mote-auth-1"',
    `pin,data,string,"${pin}"`,
    '',
  ]);
  const { pin: _, ...unpinned } = values;
  assert.throws(() => provisioningCsv(unpinned), /--pin is missing/);
  assert.throws(() => provisioningCsv({ ...values, pin: 'sha256//short' }), /"pins" expected/);
  assert.throws(() => provisioningCsv({ ...values, control: 'net.test' }), /"control" expected a URL/);
  assert.throws(() => provisioningCsv({ ...values, ssid: '' }), /--ssid is missing/);
  assert.throws(() => provisioningCsv({ ...values, password: 'two\nlines' }), /one line/);
  assert.match(provisioningCsv({ ssid: 'x', control: 'http://10.0.0.1:8080' }), /control/);
});

test.run();
