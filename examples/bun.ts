/**
 * A Bun service in a private network, with the handler that Bun.serve takes, too:
 *
 *     CONTROL=http://127.0.0.1:8080 AUTHKEY=mote-auth-… bun bun.ts
 *
 * It joins as NAME (`on-bun`), answers at http://NAME/ inside the network, and fetches http://PEER/ when PEER is set.
 * Its keys stay in a folder beside it, so that it is the same device at the next start. SIGINT ends it.
 */
import { fileStore, up } from 'motenet';

const { CONTROL, AUTHKEY, NAME = 'on-bun', PEER } = process.env;
if (!CONTROL || !AUTHKEY) throw new Error('set CONTROL to the URL of a coordinator and AUTHKEY to a key of it');

const mote = await up({ control: CONTROL, authKey: AUTHKEY, name: NAME, store: fileStore(`.motenet-${NAME}`) });

// `whois` says who asks: the tunnel has proven it.
const server = await mote.serve((_request, { remote }) => {
  return new Response(`hello ${mote.whois(remote.address)?.name}, this is Bun ${process.versions.bun}\n`);
});
console.log(`serving http://${mote.status().tailnet?.name}/`);

if (PEER) {
  const response = await mote.fetch(`http://${PEER}/`);
  console.log(`${PEER}: ${await response.text()}`);
}

process.once('SIGINT', async () => {
  await server.close();
  await mote.close();
});
