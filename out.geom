; written by xfelred
; axes: x grows with fast_scan, y with slow_scan, z along the beam
photon_energy = 9000.0
clen = 0.05
data = /data
dim0 = %
dim1 = ss
dim2 = fs
adu_per_eV = 0.1

p0a0/min_fs = 0
p0a0/max_fs = 23
p0a0/min_ss = 0
p0a0/max_ss = 15
p0a0/fs = +1.000000000000x +0.000000000000y
p0a0/ss = +0.000000000000x +1.000000000000y
p0a0/corner_x = -12.700000000000001
p0a0/corner_y = -7.6000000000000005
p0a0/coffset = 0.0
p0a0/res = 5000.0

