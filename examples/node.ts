/**
 * A Node service in a private network, with an ordinary node:http server that listens nowhere else:
 *
 *     CONTROL=http://127.0.0.1:8080 AUTHKEY=mote-auth-… npx tsx node.ts
 *
 * It joins as NAME (`on-node`), answers at http://NAME/ inside the network, and fetches http://PEER/ when PEER is set.
 * Its keys stay in a folder beside it, so that it is the same device at the next start. SIGINT ends it.
 */
import http from 'node:http';
import { fileStore, up } from 'motenet';
import { attachServer } from 'motenet/node';

const { CONTROL, AUTHKEY, NAME = 'on-node', PEER } = process.env;
if (!CONTROL || !AUTHKEY) throw new Error('set CONTROL to the URL of a coordinator and AUTHKEY to a key of it');

const mote = await up({ control: CONTROL, authKey: AUTHKEY, name: NAME, store: fileStore(`.motenet-${NAME}`) });

// express(), Fastify and ws attach in the same way. `whois` says who asks: the tunnel has proven it.
const app = http.createServer((request, response) => {
  const peer = mote.whois(request.socket.remoteAddress ?? '');
  response.end(`hello ${peer?.name}, this is Node ${process.version}\n`);
});
const attachment = await attachServer(mote, app, 80);
console.log(`serving http://${mote.status().tailnet?.name}/`);

if (PEER) {
  const response = await mote.fetch(`http://${PEER}/`);
  console.log(`${PEER}: ${await response.text()}`);
}

process.once('SIGINT', async () => {
  await attachment.close();
  await mote.close();
});
