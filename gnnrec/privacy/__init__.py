"""What people may ask of who recommends to them: to be forgotten, to be told what is kept, not to be singled out."""
