/**
 * What a server answers to whom: one table of paths for all its listeners.
 */
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { answerControlRequest } from '../../lib/control/upgrade.ts';
import { formatKey } from '../../lib/crypto/key-text.ts';
import { answerRelayRequest, type RelayAnswer } from '../../lib/derp/http.ts';
import type { WireDerpMap } from '../../lib/derp/map.ts';
import { type AdminOptions, handleAdmin, METRICS_PATH } from './admin.ts';
import type { ControlHost } from './control-host.ts';
import type { HttpHandlers } from './http-front.ts';
import { adminPage, registerPage, sendPage, sendText } from './pages.ts';
import type { RelayHost } from './relay-host.ts';
import { socketPipe, webSocketPipe } from './relay-pipe.ts';
import type { Ticket } from './source-gate.ts';
import type { AdminContext } from './types.ts';

/** Largest WebSocket message: a few of the largest frames. */
const WEBSOCKET_MESSAGE_BYTES = 262_144;

/** What the table leads to. */
export interface RouteTargets {
  readonly control: ControlHost;
  readonly relay: RelayHost;
  /** The server's Noise key: 32 bytes. */
  readonly controlKey: Uint8Array;
  readonly admin: AdminContext;
  /** Where the relays are; told to everybody, so that a network can be checked before joining. */
  readonly derpMap: WireDerpMap;
  /** Whether everything works; false: /health says so. */
  readonly isHealthy: () => boolean;
  readonly adminOptions: AdminOptions;
}

/** The table. `targets` says undefined while the server is not ready: everything is answered with 503. */
export function createRoutes(targets: () => RouteTargets | undefined): HttpHandlers {
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: WEBSOCKET_MESSAGE_BYTES,
    handleProtocols: () => 'derp',
  });
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    const found = targets();
    if (found === undefined) return sendText(response, 503, 'starting\n', { 'Retry-After': '1' });
    answer(found, request, response);
  };
  return {
    onRequest,
    onUpgrade: (request, socket, head, ticket) => {
      const found = targets();
      if (found === undefined) return answerAlone(request, socket, onRequest);
      const path = pathOf(request);
      const isRead = path === '/derp' ? onRelay(webSockets, found, request, socket, head, ticket) : false;
      if (isRead) return;
      if (path === '/ts2021') return onControl(found, request, socket, head, ticket);
      answerAlone(request, socket, onRequest);
    },
  };
}

function answer(targets: RouteTargets, request: IncomingMessage, response: ServerResponse): void {
  const path = pathOf(request);
  const isAdmin = path.startsWith('/api/') || path === METRICS_PATH;
  if (isAdmin) return void handleAdmin(request, response, targets.admin, targets.adminOptions);
  if (path === '/ts2021') return sendText(response, 400, 'missing or unknown upgrade\n');
  const relayed = relayAnswer(targets, request);
  if (relayed !== undefined) return sendRelayAnswer(request, response, relayed);
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return sendText(response, 405, 'method not allowed\n', { Allow: 'GET, HEAD' });
  if (path === '/key') return sendKey(request, response, targets.controlKey);
  if (path === '/derpmap/default') return sendJson(request, response, 200, targets.derpMap);
  if (path === '/health') return sendHealth(request, response, targets.isHealthy());
  if (path === '/robots.txt') return sendText(response, 200, 'User-agent: *\nDisallow: /\n');
  if (path === '/' || path === '/admin') return sendPage(request, response, 200, adminPage());
  const login = /^\/register\/([^/]{1,128})$/.exec(path)?.[1];
  if (login !== undefined) return sendPage(request, response, 200, registerPage(login));
  sendText(response, 404, 'there is nothing at this address\n');
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0]!;
}

/** GET /key: what a client needs to open a control connection. The key of the protocol before Noise does not exist. */
function sendKey(request: IncomingMessage, response: ServerResponse, key: Uint8Array): void {
  const legacyPublicKey = formatKey('mkey', new Uint8Array(32));
  sendJson(request, response, 200, { legacyPublicKey, publicKey: formatKey('mkey', key) });
}

function sendHealth(request: IncomingMessage, response: ServerResponse, isHealthy: boolean): void {
  sendJson(request, response, isHealthy ? 200 : 503, { status: isHealthy ? 'pass' : 'fail' });
}

function sendJson(request: IncomingMessage, response: ServerResponse, status: number, value: object): void {
  const text = JSON.stringify(value);
  const headers = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' };
  response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(text) });
  response.end(request.method === 'HEAD' ? undefined : text);
}

function relayAnswer({ relay }: RouteTargets, request: IncomingMessage): RelayAnswer | undefined {
  const { method = '', url = '', headers } = request;
  return answerRelayRequest({ method, target: url, headers }, relay.publicKey);
}

/** An answer of the relay to an ordinary request; an upgrade without "Connection: Upgrade" comes here too. */
function sendRelayAnswer(request: IncomingMessage, response: ServerResponse, relayed: RelayAnswer): void {
  if (relayed.type !== 'response') return sendText(response, 400, 'the request is not an upgrade\n');
  const { status, headers, body } = relayed;
  const length = status === 204 ? {} : { 'Content-Length': Buffer.byteLength(body) };
  response.writeHead(status, { ...headers, ...length }).end(request.method === 'HEAD' ? undefined : body);
}

/** An upgrade of /derp. False: it is none, and to be answered as an ordinary request. */
function onRelay(
  webSockets: WebSocketServer,
  { relay }: RouteTargets,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  ticket: Ticket,
): boolean {
  const { method = '', url = '', headers } = request;
  const relayed = answerRelayRequest({ method, target: url, headers }, relay.publicKey);
  if (relayed?.type === 'websocket') {
    webSockets.handleUpgrade(request, socket, head, (webSocket: WebSocket) => {
      if (!relay.open(ticket, sink => webSocketPipe(webSocket, sink))) webSocket.close(1013);
    });
    return true;
  }
  if (relayed?.type !== 'derp') return false;
  if (relayed.head.length > 0) socket.write(relayed.head);
  if (!relay.open(ticket, sink => socketPipe(socket, head, sink))) socket.destroy();
  return true;
}

function onControl(
  { control }: RouteTargets,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  ticket: Ticket,
): void {
  const { method = '', headers } = request;
  const answered = answerControlRequest({ method, headers });
  if (answered.type === 'response')
    return answerAlone(request, socket, (_, response) => sendText(response, answered.status, answered.body));
  socket.write(answered.head);
  control.open(socket, answered.initiation, head, ticket);
}

/** Answers a request that asked for an upgrade with an ordinary response, the last of its connection. */
function answerAlone(
  request: IncomingMessage,
  socket: Duplex,
  respond: (request: IncomingMessage, response: ServerResponse) => void,
): void {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket as Socket);
  response.once('finish', () => socket.end(() => socket.destroy()));
  respond(request, response);
}
