from tests import clients as clients  # puts the guest on the path
