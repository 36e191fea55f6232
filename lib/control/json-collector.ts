/**
 * One JSON value out of tokens, with a budget: only the fields that the table of fields wants are kept, and a value
 * that would need more than its budget is dropped whole, without being stored further.
 */
import { type FieldRule, wantedField } from './fields.ts';
import {
  JSON_ARRAY,
  JSON_ARRAY_END,
  JSON_KEY,
  JSON_NULL,
  JSON_NUMBER,
  JSON_OBJECT,
  JSON_OBJECT_END,
  JSON_STRING,
  JSON_TRUE,
  type JsonReader,
} from './json-stream.ts';

/** A value as JSON.parse would give it; objects have no prototype, so that no name can do harm. */
export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;
/** An object of {@link JsonValue}. */
export interface JsonObject {
  [name: string]: JsonValue;
}

const CONTAINER_COST = 48;
const SCALAR_COST = 16;

/** Builds one value at a time. */
export class JsonCollector {
  /** The value, complete; undefined when it was dropped. */
  value: JsonValue | undefined = undefined;
  /** About how many bytes of memory the value needs. */
  cost = 0;
  #budget = 0;
  #isDropped = false;
  #depth = 0;
  #stack: (JsonValue[] | JsonObject)[] = [];
  #kinds: (string | undefined)[] = [];
  #name = '';
  /** The kind of the field that comes next in an object. */
  #next: string | undefined = undefined;

  /** Expects a value that is, or whose elements are, of `kind` (undefined: no objects); `budget` is in bytes. */
  begin(kind: string | undefined, budget: number): void {
    this.value = undefined;
    this.cost = 0;
    this.#budget = budget;
    this.#isDropped = false;
    this.#depth = 0;
    this.#stack = [];
    this.#kinds = [];
    this.#next = kind;
  }

  /** Goes on with a token that `reader` has just given; true when the value is complete. */
  handle(token: number, reader: JsonReader): boolean {
    switch (token) {
      case JSON_OBJECT:
        return this.#open(Object.create(null) as JsonObject);
      case JSON_ARRAY:
        return this.#open([]);
      case JSON_OBJECT_END:
      case JSON_ARRAY_END:
        return this.#close();
      case JSON_KEY:
        this.#handleName(reader);
        return false;
      case JSON_STRING:
        if (reader.isTooLong) this.#drop();
        return this.#add(this.#isDropped ? '' : reader.text);
      case JSON_NUMBER:
        return this.#add(reader.number);
      default:
        return this.#add(token === JSON_NULL ? null : token === JSON_TRUE);
    }
  }

  #handleName(reader: JsonReader): void {
    const name = reader.text;
    const kind = this.#kinds.at(-1);
    const rule: FieldRule | undefined = kind === undefined ? undefined : wantedField(kind, name);
    if (rule === undefined || this.#isDropped) return reader.skip();
    if (reader.isTooLong) this.#drop();
    this.#name = name;
    this.#next = rule.of;
    this.#pay(SCALAR_COST + 2 * name.length);
    if (rule.of !== 'Nothing') return;
    this.#attach(null); // the name alone is wanted
    reader.skip();
  }

  #open(container: JsonValue[] | JsonObject): boolean {
    this.#depth++;
    if (this.#isDropped) return false;
    this.#pay(CONTAINER_COST);
    if (this.#isDropped) return false;
    const kind = this.#next;
    this.#attach(container);
    this.#stack.push(container);
    this.#kinds.push(kind);
    return false;
  }

  #close(): boolean {
    this.#depth--;
    if (!this.#isDropped) {
      this.#stack.pop();
      this.#kinds.pop();
      this.#next = this.#kinds.at(-1);
    }
    return this.#depth === 0;
  }

  #add(value: string | number | boolean | null): boolean {
    if (!this.#isDropped) {
      this.#pay(SCALAR_COST + (typeof value === 'string' ? 2 * value.length : 0));
      this.#attach(value);
    }
    return this.#depth === 0;
  }

  #attach(value: JsonValue): void {
    if (this.#isDropped) return;
    const parent = this.#stack.at(-1);
    if (parent === undefined) this.value = value;
    else if (Array.isArray(parent)) parent.push(value);
    else parent[this.#name] = value;
  }

  #pay(bytes: number): void {
    this.cost += bytes;
    if (this.cost > this.#budget) this.#drop(); // CHECK: map-value-budget
  }

  #drop(): void {
    this.#isDropped = true;
    this.value = undefined;
    this.#stack = [];
    this.#kinds = [];
  }
}
