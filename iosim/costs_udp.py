"""What datagrams cost."""

from iosim.checked import Checked
from iosim.figures import Figure, cost

HERE = "measured here in C, 64 bytes over loopback: sendto 2790 in all, recvfrom 680, as TCP's send takes 3500 (±15 %)"


class UdpCosts(Checked):
    """UDP has no connection to look after: no window, no acknowledgement, no timer."""

    udp_send_ns: Figure = cost(
        1250,
        "system",
        "network stack",
        "sendto of one datagram, down to the link",
        HERE + "; about half of the 2565 above entry",
    )
    udp_receive_ns: Figure = cost(
        450, "system", "network stack", "recvfrom that finds a datagram", HERE + ", above entry"
    )
    udp_input_ns: Figure = cost(
        1300,
        "softirq",
        "protocol input",
        "UDP input of one datagram, on the sender's CPU; a dropped one costs as much",
        HERE + "; the rest of the 2565",
    )
