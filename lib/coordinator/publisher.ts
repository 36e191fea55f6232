/**
 * Tells others what has become durable: the carrier of maps hears of networks, users, devices and policies, the relay of
 * node keys that are over. Nothing else of the coordinator may reach them.
 */
import { parseKeyText } from '../crypto/key-text.ts';
import type { Core } from './core.ts';
import { isExpired } from './device-standing.ts';
import { DeviceTimers } from './device-timers.ts';
import type { AppliedChange } from './ledger.ts';
import type { DeviceRecord } from './model.ts';

const WALL_CLOCK_MS = 60_000;

/** See the top of the file. */
export class Publisher {
  readonly #core: Core;
  /** By the wall clock: ends of node keys. */
  readonly #expiries = new DeviceTimers();
  /** Devices by node key, as they are durable: the relay asks for them. */
  readonly #durable = new Map<string, DeviceRecord>();

  /** Tells of everything that the store held. */
  constructor(core: Core) {
    this.#core = core;
    for (const [id, tailnet] of core.state.tailnets) {
      core.sessions.addTailnet(tailnet.record, tailnet.users.values());
      for (const device of tailnet.devices.values()) this.#publishDevice(device, undefined);
      const policy = core.policies.standing(id)?.policy;
      if (policy !== undefined) core.sessions.policyChanged(core.nowMs, id, policy);
    }
  }

  /** Tells the carrier of maps, the clocks and the relay what has become durable. */
  publish(applied: readonly AppliedChange[]): void {
    const { nowMs } = this.#core;
    for (const { change, previous } of applied) {
      const { kind, value } = change;
      if (kind === 'tailnet' && value === undefined) this.#core.sessions.removeTailnet(nowMs, change.id);
      else if (kind === 'tailnet' && previous === undefined) this.#core.sessions.addTailnet(value!, []);
      else if (kind === 'tailnet') this.#core.sessions.tailnetChanged(nowMs, value!);
      else if (kind === 'user' && value !== undefined) this.#core.sessions.userChanged(nowMs, value);
      else if (kind === 'device' && value !== undefined)
        this.#publishDevice(value, previous as DeviceRecord | undefined);
      else if (kind === 'device') this.#withdrawDevice(previous as DeviceRecord);
      else if (kind === 'policy' && value?.id === 'current')
        this.#core.sessions.policyChanged(nowMs, change.tailnet, this.#core.policies.read(value).policy);
    }
  }

  /** Node keys that have ended: no record changes, but the relay is to know. Maps have a clock of their own for it. */
  endKeys(): void {
    const { unixMs, state } = this.#core;
    for (let due = this.#expiries.takeDue(unixMs); due !== undefined; due = this.#expiries.takeDue(unixMs)) {
      const device = state.tailnets.get(due.tailnet)?.devices.get(due.id);
      const durable = device === undefined ? undefined : this.#durable.get(device.nodeKey);
      if (durable === undefined || !isExpired(durable, unixMs)) continue;
      this.#disconnect(durable);
    }
  }

  /** When {@link endKeys} has something to do, monotonic. */
  nextTimeout(): number {
    if (this.#expiries.size === 0) return Infinity;
    const { nowMs, unixMs } = this.#core;
    // The wall clock may be set: ends of keys are looked at once a minute.
    return nowMs + Math.min(Math.max(0, this.#expiries.nextMs - unixMs), WALL_CLOCK_MS);
  }

  /** The tailnet of an approved device whose node key (`nodekey:` text) is valid; undefined for any other key. */
  tailnetOfNode(unixMs: number, nodeKey: string): string | undefined {
    const device = this.#durable.get(nodeKey);
    const latest = this.#core.state.deviceOfNodeKey(nodeKey);
    const isMember = device !== undefined && mayRelay(device, unixMs) && latest?.id === device.id;
    return isMember && mayRelay(latest, unixMs) ? device.tailnet : undefined;
  }

  #publishDevice(device: DeviceRecord, previous: DeviceRecord | undefined): void {
    const { nowMs, unixMs, limits } = this.#core;
    if (previous !== undefined && previous.nodeKey !== device.nodeKey) this.#durable.delete(previous.nodeKey);
    this.#durable.set(device.nodeKey, device);
    this.#core.sessions.deviceChanged(nowMs, unixMs, device, previous);
    this.#expiries.set(device, device.keyExpiryMs > unixMs ? device.keyExpiryMs : Infinity);
    if (!device.isEphemeral || this.#core.sessions.isOnline(device.id)) this.#core.ephemeral.remove(device.id);
    else if (!this.#core.ephemeral.has(device.id)) this.#core.ephemeral.set(device, nowMs + limits.ephemeralGraceMs);
    if (previous === undefined || !mayRelay(previous, 0)) return;
    const isOut = previous.nodeKey !== device.nodeKey || !mayRelay(device, unixMs);
    if (isOut) this.#disconnect(previous); // CHECK: coordinator-relay-disconnect
  }

  #withdrawDevice(device: DeviceRecord): void {
    this.#durable.delete(device.nodeKey);
    this.#expiries.remove(device.id);
    this.#core.ephemeral.remove(device.id);
    this.#core.sessions.deviceRemoved(this.#core.nowMs, device);
    this.#disconnect(device);
  }

  #disconnect(device: DeviceRecord): void {
    const nodeKey = parseKeyText('nodekey', device.nodeKey)!;
    this.#core.emit({ type: 'relay-disconnect', tailnet: device.tailnet, nodeKey });
  }
}

/** Whether the relay carries for a device. */
function mayRelay(device: DeviceRecord, unixMs: number): boolean {
  return device.isApproved && !isExpired(device, unixMs);
}
