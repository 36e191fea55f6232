/**
 * Callbacks of ECMA-419 instances: gathered while a call runs, and delivered after it, each kind once. What a callback
 * throws reaches the host as any error that nobody caught.
 */

/** What an instance announces. */
export const READABLE = 1;
export const WRITABLE = 2;
export const ERROR = 4;

/** What instances have in common: one object each, because XS takes 200 bytes for another one and its function. */
export abstract class Announcer {
  #due = 0;
  #isClosed = false;

  /** Gets the bits that are due; never from inside {@link raise}. */
  protected abstract deliver(due: number): void;

  /** Announces something soon. Several announcements before that are one. */
  protected raise(bits: number): void {
    if (this.#isClosed || bits === 0) return;
    const isIdle = this.#due === 0;
    this.#due |= bits;
    if (isIdle) void Promise.resolve().then(() => this.#flush());
  }

  /** Nothing is announced any more. */
  protected silence(): void {
    this.#isClosed = true;
  }

  protected get isSilent(): boolean {
    return this.#isClosed;
  }

  #flush(): void {
    const due = this.#due;
    this.#due = 0;
    if (!this.#isClosed) this.deliver(due);
  }
}

/** Sets `target`, as ECMA-419 §11.1 says, when the options have one. */
export function setTarget(instance: object, options: { readonly target?: unknown }): void {
  if ('target' in options) Object.assign(instance, { target: options.target });
}

/** The port of an option. Throws RangeError. */
export function checkPort(port: unknown, least: number): number {
  const value = Number(port);
  if (Number.isInteger(value) && value >= least && value <= 65_535) return value;
  throw new RangeError(`invalid port: expected ${least} to 65535, got ${String(port)}`);
}

/** The bytes of a buffer argument: an ArrayBuffer or a view of bytes. Throws TypeError. */
export function bytesOf(buffer: unknown): Uint8Array {
  if (buffer instanceof Uint8Array) return buffer;
  if (ArrayBuffer.isView(buffer)) {
    const { BYTES_PER_ELEMENT = 1 } = buffer as { BYTES_PER_ELEMENT?: number };
    if (BYTES_PER_ELEMENT === 1) return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  }
  if (buffer instanceof ArrayBuffer) return new Uint8Array(buffer);
  throw new TypeError(`invalid buffer: expected an ArrayBuffer or a view of bytes, got ${typeof buffer}`);
}
