/**
 * Who a member of a tailnet is: its machine key and node key, kept in the store from before they are first used.
 *
 * A value is a schema byte and the 32 bytes of the key. Without a store the identity ends with the process.
 */
import { concatBytes } from '../base/bytes.ts';
import { NetError } from '../base/errors.ts';
import { SecretKey } from '../crypto/keys.ts';
import type { Random, Store } from '../ports.ts';

const MACHINE_KEY_NAME = 'machine-key';
const NODE_KEY_NAME = 'node-key';
/** A node key that the coordinator may or may not have accepted. */
const NEXT_KEY_NAME = 'next-node-key';
const SCHEMA = 1;

/** The keys of one member. */
export interface Identity {
  readonly machineKey: SecretKey;
  readonly nodeKey: SecretKey;
  readonly nextNodeKey: SecretKey | undefined;
}

/** The stored identity, or a new one that is stored. Throws NetError `ERR_STORE`. */
export function loadIdentity(store: Store | undefined, random: Random): Identity {
  return {
    machineKey: loadKey(store, MACHINE_KEY_NAME, random),
    nodeKey: loadKey(store, NODE_KEY_NAME, random),
    nextNodeKey: readKey(store, NEXT_KEY_NAME),
  };
}

/** Makes a new node key durable, beside the one in force. Throws NetError `ERR_STORE`. */
export function saveNextNodeKey(store: Store | undefined, key: SecretKey): void {
  saveKey(store, NEXT_KEY_NAME, key);
}

/** The new node key is the one in force. Throws NetError `ERR_STORE`: at the next start both are tried then. */
export function promoteNodeKey(store: Store | undefined, key: SecretKey): void {
  saveKey(store, NODE_KEY_NAME, key);
  store?.remove(NEXT_KEY_NAME);
}

/** Forgets the node key, so that the next start joins as somebody new; the machine stays the same. */
export function forgetNodeKey(store: Store | undefined): void {
  store?.remove(NODE_KEY_NAME);
  store?.remove(NEXT_KEY_NAME);
}

function loadKey(store: Store | undefined, name: string, random: Random): SecretKey {
  const stored = readKey(store, name);
  if (stored !== undefined) return stored;
  const key = SecretKey.generate(random);
  saveKey(store, name, key);
  return key;
}

function readKey(store: Store | undefined, name: string): SecretKey | undefined {
  const value = store?.load(name);
  if (value === undefined) return undefined;
  const isSound = value.length === 33 && value[0] === SCHEMA;
  if (!isSound) throw new NetError('ERR_STORE', `"${name}" in the store is damaged: remove it to join as a new device`);
  return SecretKey.fromBytes(value.subarray(1));
}

function saveKey(store: Store | undefined, name: string, key: SecretKey): void {
  const value = concatBytes(Uint8Array.of(SCHEMA), key.bytes);
  try {
    store?.save(name, value);
  } finally {
    value.fill(0);
  }
}
