/**
 * A Deno service in a private network, with the handler that Deno.serve takes, too:
 *
 *     CONTROL=http://127.0.0.1:8080 AUTHKEY=mote-auth-… deno run -A --unstable-net deno.ts
 *
 * It joins as NAME (`on-deno`), answers at http://NAME/ inside the network, and fetches http://PEER/ when PEER is set.
 * Its keys stay in a folder beside it, so that it is the same device at the next start. SIGINT ends it.
 */
import { fileStore, up } from 'motenet';

const [control, authKey, name = 'on-deno', peer] = ['CONTROL', 'AUTHKEY', 'NAME', 'PEER'].map(key => Deno.env.get(key));
if (!control || !authKey) throw new Error('set CONTROL to the URL of a coordinator and AUTHKEY to a key of it');

const mote = await up({ control, authKey, name, store: fileStore(`.motenet-${name}`) });

// `whois` says who asks: the tunnel has proven it.
const server = await mote.serve((_request, { remote }) => {
  return new Response(`hello ${mote.whois(remote.address)?.name}, this is Deno ${Deno.version.deno}\n`);
});
console.log(`serving http://${mote.status().tailnet?.name}/`);

if (peer) {
  const response = await mote.fetch(`http://${peer}/`);
  console.log(`${peer}: ${await response.text()}`);
}

Deno.addSignalListener('SIGINT', async () => {
  await server.close();
  await mote.close();
  Deno.exit();
});
