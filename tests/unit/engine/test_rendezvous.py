"""Processes under torchrun agree on a part of its store that is new in every start."""

from concurrent.futures import ThreadPoolExecutor

from torch.distributed import Store, TCPStore

from dvis_daq.engine.rendezvous import of_this_start


def _start(server: TCPStore, order: list[int]) -> dict[int, Store]:
    """One start of the processes, which call in this order, each with a connection of its own."""
    clients = {rank: TCPStore("127.0.0.1", server.port, is_master=False) for rank in order}
    with ThreadPoolExecutor(len(order)) as pool:
        stores = {
            rank: pool.submit(of_this_start, clients[rank], rank, len(order)) for rank in order
        }
        return {rank: store.result(20) for rank, store in stores.items()}


def test_what_an_earlier_start_wrote_is_not_seen() -> None:
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    orders = ([0, 1, 2], [2, 1, 0], [1, 0, 2, 3], [0, 1])  # also with machines that come and go
    for number, order in enumerate(orders):
        stores = _start(server, order)
        assert not any(store.check(["address"]) for store in stores.values())
        stores[1].set("address", str(number))
        assert [store.get("address") for store in stores.values()] == [str(number).encode()] * len(
            order
        )


def test_one_process_waits_for_nobody() -> None:
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    assert not of_this_start(server, 0, 1).check(["address"])
