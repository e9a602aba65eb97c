/**
 * Error answer of the server: apart from the client, whose packages the widget does without.
 */

/** Error answer of the server. Its message is meant for the reader. */
export class RefusedError extends Error {
  constructor(
    readonly status: number,
    readonly kind: string,
    message: string
  ) {
    super(message);
    this.name = 'RefusedError';
  }
}
