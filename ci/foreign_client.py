"""A foreign client for the echo server: Python's asyncio.

usage: foreign_client.py HOST PORT [CONNECTIONS [BYTES]]

Opens the connections at once. Each sends its bytes in pieces of random size while it reads, shuts down writing, and
must get back exactly what it sent, and then the end of the stream.
"""

import asyncio
import random
import sys


async def client(number: int, host: str, port: int, length: int) -> int:
    choose = random.Random(number)
    sent = choose.randbytes(length)
    reader, writer = await asyncio.open_connection(host, port)

    async def send() -> None:
        at = 0
        while at < len(sent):
            size = int(2 ** choose.uniform(0, 17))
            writer.write(sent[at : at + size])
            await writer.drain()
            at += size
        writer.write_eof()

    sending = asyncio.create_task(send())
    received = await reader.read()
    await sending
    writer.close()
    await writer.wait_closed()
    if received != sent:
        raise SystemExit(f"connection {number}: sent {len(sent)} bytes, got {len(received)}, not the same")
    return len(received)


async def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    connections = int(sys.argv[3]) if len(sys.argv) > 3 else 50
    length = int(sys.argv[4]) if len(sys.argv) > 4 else 1 << 20
    clients = (client(number, host, port, length) for number in range(connections))
    received = await asyncio.wait_for(asyncio.gather(*clients), timeout=120)
    print(f"asyncio: {connections} connections, {sum(received)} bytes back")


asyncio.run(main())
