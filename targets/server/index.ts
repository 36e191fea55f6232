/**
 * The motenet server for Node: a coordinator with its store, its relay and STUN, in one process.
 *
 * Outside it speaks HTTP: the control protocol (ts2021) behind `/key` and `/ts2021`, the relay (DERP) behind `/derp`, the
 * administration below `/api/`. Left out: several processes on one store, relays elsewhere, a certificate of its own for
 * the coordinator.
 */
export { openOffline } from './offline.ts';
export { startServer } from './server.ts';
export * from './types.ts';
