/**
 * What happens to devices by the clock alone: a node key ends, and an ephemeral device that is not connected goes.
 */
import { DeadlineHeap } from '../derp/deadline-heap.ts';
import type { DeviceRecord } from './model.ts';

/** A device with a deadline. */
export interface TimedDevice {
  readonly tailnet: string;
  readonly id: number;
  dueMs: number;
  heapIndex: number;
}

/** Deadlines of devices, one for each. */
export class DeviceTimers {
  readonly #heap = new DeadlineHeap<TimedDevice>();
  readonly #byId = new Map<number, TimedDevice>();

  /** Devices with a deadline. */
  get size(): number {
    return this.#byId.size;
  }

  /** When the first is due; Infinity for none. */
  get nextMs(): number {
    return this.#heap.nextMs;
  }

  /** Whether a device has a deadline. */
  has(id: number): boolean {
    return this.#byId.has(id);
  }

  /** Sets or moves a device's deadline; Infinity takes it away. */
  set(device: DeviceRecord, dueMs: number): void {
    if (dueMs === Infinity) return this.remove(device.id);
    let timed = this.#byId.get(device.id);
    if (timed === undefined) {
      timed = { tailnet: device.tailnet, id: device.id, dueMs: Infinity, heapIndex: -1 };
      this.#byId.set(device.id, timed);
    }
    this.#heap.set(timed, dueMs);
  }

  /** Takes a device's deadline away. */
  remove(id: number): void {
    const timed = this.#byId.get(id);
    if (timed === undefined) return;
    this.#byId.delete(id);
    this.#heap.remove(timed);
  }

  /** The next device that is due, taken out; undefined for none. */
  takeDue(ms: number): TimedDevice | undefined {
    const first = this.#heap.first;
    if (first === undefined || first.dueMs > ms) return undefined;
    this.remove(first.id);
    return first;
  }
}
