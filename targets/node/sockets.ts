/** `motenet/node`: Node's sockets, servers and agents over a mote, as `node:http`, `ws`, `pg` and `undici` take them. */
export { createAgent, createDispatcherConnect, createSecureAgent } from './agent.ts';
export { secureStream } from './secure-stream.ts';
export { attachServer, createServer } from './server.ts';
export { createConnection, MoteSocket } from './socket.ts';
