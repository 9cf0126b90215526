"""A fleet: a server and camera hosts on real machines, with TLS and a registered key for every host.

    fedkd fleet init FOLDER --server fleet.example.org --host cam1=v01 --host cam2=v02
    fedkd fleet check FOLDER/hosts/cam1
    fedkd fleet status FOLDER
    fedkd run place=fleet place.kit=FOLDER

kit           the noun: a server, its hosts, their views; kit.json.
make          init: certificates, keys, and for each machine the folder that is copied to it.
certificates  the fleet's own authority and the server's certificate.
keys          a host's key pair.
scripts       what starts the processes: shell, systemd, compose.
gate          the one door that is open to the network.
link          Flower's private clients: who is registered, who is there.
app           the ServerApp: a run's, or the hello of a check.
checks        what a check looks at, by where it looks.
check, status, hello, place    what their names say.
"""
