print("vitrine-vmm")
