// What the modules behind chat-client.js hand to each other; here, because no browser has to load it.

import type { Network } from "./chat-client.js";
import type { ChatError } from "./chat-error.js";
import type { Keeper } from "./chat-storage.js";

export interface Clock {
  /** ms, and right over a sleep of the computer: Date.now. */
  now(): number;
  setTimeout(act: () => void, ms: number): any;
  clearTimeout(timer: any): void;
  random(): number;
}

/** What is around a client, a browser's page or a program. */
export interface Surroundings {
  WebSocket: typeof globalThis.WebSocket;
  clock: Clock;
  online: Network;
}

/** Who has asked, and waits for what comes back: one of the three. */
export interface Answer {
  done(frame: any): void;
  refused(error: ChatError): void;
  /** There will be none: the connection has gone. */
  gone?(): void;
}

/** Of a Link. */
export interface LinkHooks {
  /** What answers nothing. */
  hear(frame: any): void;
  /** Once, and nothing comes after it. */
  lost(code: number, reason: string): void;
  /** More can be said. */
  turn(): void;
}

/** In an Outbox. */
export interface Entry {
  id: string;
  /** Without id and channel. */
  frame: Record<string, any>;
  /** ms, when it was asked for. */
  since: number;
  state: "queued" | "sent" | "failed";
  /** Perhaps the server knows it. */
  wasSent: boolean;
  /** Why it failed, or waits. */
  error: ChatError | null;
  refusals: number;
  promise: Promise<any>;
  resolve(value: any): void;
  reject(error: ChatError): void;
}

/** Of an Outbox. */
export interface OutboxHooks {
  /** Whether it was handed to a socket. */
  ask(frame: Record<string, any>, answer: Answer): boolean;
  onChange(): void;
  onDone(entry: Entry, frame: any): void;
}

/** What a client lends to a channel. */
export interface Port {
  clock: Clock;
  keeper: Keeper;
  user(): string | null;
  /** Whether a socket took it. */
  say(frame: Record<string, any>, answer?: Answer): boolean;
  leave(): Promise<void>;
}
